"""placeholder"""
class Scan:
    @staticmethod
    def of(query): return None
