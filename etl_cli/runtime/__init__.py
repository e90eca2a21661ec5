"""What a running pipeline uses; imports nothing from the other folders."""
