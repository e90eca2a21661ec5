"""A batch: its statements, each dispatched by its first word."""

from __future__ import annotations

from functools import lru_cache

from etl_cli.sandbox.standin.sql import ast, lexer
from etl_cli.sandbox.standin.sql.ast import Expression, Statement
from etl_cli.sandbox.standin.sql.definitions import DefinitionParser
from etl_cli.sandbox.standin.sql.expressions import string_literal

CACHED_TEXT = 20_000
ISOLATION_LEVELS = frozenset({"READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT"})


class BatchParser(DefinitionParser):
    """Takes a whole batch."""

    def batch(self) -> tuple[Statement, ...]:
        """Return the statements; 102 or 50000 for a piece that does not fit, and then nothing runs."""
        statements: list[Statement] = []
        if not self._at_end() and self._names_procedure():
            statements.append(self._procedure_call())
        while not self._at_end():
            statements.extend(self._statement())
        return tuple(statements)

    def _names_procedure(self) -> bool:
        """Only the first statement of a batch may call a procedure without EXEC."""
        return self.at_identifier() and self.current.word not in STATEMENTS | UNSUPPORTED

    def _at_end(self) -> bool:
        while self.accept_symbol(";"):
            pass
        return self.current.kind == lexer.END

    def _statement(self) -> tuple[Statement, ...]:
        """Return one statement; several for a list of DECLAREs or a BEGIN .. END."""
        word = self.current.word
        if word == "BEGIN" and not self._begins_transaction():
            return self._block()
        if word == "DECLARE":
            return self._declare()
        simple = getattr(self, f"_take_{word.lower()}", None) if word in STATEMENTS else None
        if simple is None:
            raise self._unknown_statement(word)
        statement: Statement = simple()
        return (statement,)

    def _unknown_statement(self, word: str) -> Exception:
        if word in UNSUPPORTED or (word.startswith("SP_") and self.at_identifier()):
            return self.unsupported(word)
        return self.unexpected()

    def _begins_transaction(self) -> bool:
        return self.ahead().word in ("TRAN", "TRANSACTION", "DISTRIBUTED")

    def _block(self) -> tuple[Statement, ...]:
        self.expect("BEGIN")
        if self.at_any("TRY", "CATCH"):
            raise self.unsupported("BEGIN " + self.current.word)
        statements: list[Statement] = []
        while not self._at_end() and not self.at_word("END"):
            statements.extend(self._statement())
        self.expect("END")
        return tuple(statements)

    def _take_select(self) -> Statement:
        return self.select()

    def _take_create(self) -> Statement:
        return self.create()

    def _take_alter(self) -> Statement:
        return self.alter()

    def _take_drop(self) -> Statement:
        return self.drop()

    def _take_grant(self) -> Statement:
        return self.permission()

    _take_deny = _take_grant
    _take_revoke = _take_grant

    def _take_truncate(self) -> Statement:
        self.expect("TRUNCATE", "TABLE")
        return ast.Truncate(self.object_name())

    def _take_insert(self) -> Statement:
        self.expect("INSERT")
        self.accept("INTO")
        name = self.object_name()
        if self.at_word("WITH"):
            self.hints()
        columns = self.names_in_brackets() if self.at_symbol("(") else ()
        self._refuse_output()
        if self.accept("DEFAULT", "VALUES"):
            return ast.Insert(name, columns)
        if self.at_word("VALUES"):
            return ast.Insert(name, columns, rows=self.value_rows())
        if self.at_any("EXEC", "EXECUTE"):
            raise self.unsupported("INSERT ... EXEC")
        return ast.Insert(name, columns, select=self.select())

    def _refuse_output(self) -> None:
        if self.at_word("OUTPUT"):
            raise self.unsupported("OUTPUT")

    def _statement_top(self) -> Expression | None:
        return self._top()

    def _take_update(self) -> Statement:
        self.expect("UPDATE")
        top = self._statement_top()
        name = self.object_name()
        self.hints()
        self.expect("SET")
        assignments = [self._assignment()]
        while self.accept_symbol(","):
            assignments.append(self._assignment())
        self._refuse_output()
        if self.at_word("FROM"):
            raise self.unsupported("UPDATE ... FROM")
        where = self.expression() if self.accept("WHERE") else None
        return ast.Update(name, tuple(assignments), where, top)

    def _assignment(self) -> tuple[str, Expression | None]:
        column = self.object_name()[-1]
        for operator in ("+=", "-=", "*=", "/=", "%="):
            if self.accept_symbol(operator):
                own = ast.Column((column.lower(),), column)
                return column, ast.Binary(operator[0], own, self.scalar())
        self.expect_symbol("=")
        return column, None if self.accept("DEFAULT") else self.scalar()

    def _take_delete(self) -> Statement:
        self.expect("DELETE")
        top = self._statement_top()
        self.accept("FROM")
        name = self.object_name()
        self.hints()
        self._refuse_output()
        if self.at_any("FROM") or self.at_identifier():
            raise self.unsupported("DELETE with an alias or a join")
        where = self.expression() if self.accept("WHERE") else None
        return ast.Delete(name, where, top)

    def _take_set(self) -> Statement:
        self.expect("SET")
        if self.current.kind == lexer.VARIABLE:
            name = self.advance().text.lower()
            self.expect_symbol("=")
            return ast.SetVariable(name, self.scalar())
        if self.accept("TRANSACTION", "ISOLATION", "LEVEL"):
            return self._isolation()
        if self.accept("IDENTITY_INSERT"):
            table = self.object_name()
            return ast.Set(("IDENTITY_INSERT",), self.advance().text.upper(), table)
        options = [self.identifier().upper()]
        while self.accept_symbol(","):
            options.append(self.identifier().upper())
        sign = "-" if self.accept_symbol("-") else ""
        return ast.Set(tuple(options), sign + self.advance().text.upper())

    def _isolation(self) -> Statement:
        level = self.advance().word
        if level in ("READ", "REPEATABLE"):
            level += " " + self.advance().word
        if level not in ISOLATION_LEVELS:
            self.position -= 1
            raise self.unexpected()
        return ast.Set(("ISOLATION",), level)

    def _declare(self) -> tuple[Statement, ...]:
        self.expect("DECLARE")
        found = [self._variable()]
        while self.accept_symbol(","):
            found.append(self._variable())
        return tuple(found)

    def _variable(self) -> Statement:
        if self.current.kind != lexer.VARIABLE:
            raise self.unexpected()
        name = self.advance().text.lower()
        self.accept("AS")
        if self.at_any("TABLE", "CURSOR"):
            raise self.unsupported("DECLARE ... " + self.current.word)
        kind = self.data_type()
        return ast.Declare(name, kind, self.scalar() if self.accept_symbol("=") else None)

    def _take_begin(self) -> Statement:
        self.advance()
        if self.advance().word == "DISTRIBUTED":
            raise self.unsupported("BEGIN DISTRIBUTED TRANSACTION")
        return ast.Transaction("BEGIN", self._transaction_name())

    def _transaction_name(self) -> str:
        """Return the name behind BEGIN, COMMIT or ROLLBACK, when one stands there."""
        if self.at_identifier() and self.current.word not in STATEMENTS | UNSUPPORTED:
            return self.advance().text
        return ""

    def _take_commit(self) -> Statement:
        action = self.advance().word
        if self.accept("WORK"):
            return ast.Transaction(action)
        if self.accept("TRAN") or self.accept("TRANSACTION"):
            return ast.Transaction(action, self._transaction_name())
        return ast.Transaction(action)

    _take_rollback = _take_commit

    def _take_save(self) -> Statement:
        self.advance()
        if not (self.accept("TRAN") or self.accept("TRANSACTION")):
            raise self.unexpected()
        return ast.Transaction("SAVE", self.identifier())

    def _take_if(self) -> Statement:
        self.expect("IF")
        condition = self.expression()
        self.accept_symbol(";")
        then = self._statement()
        behind = self.position
        while self.accept_symbol(";"):
            pass
        if self.accept("ELSE"):
            return ast.If(condition, then, self._statement())
        self.position = behind
        return ast.If(condition, then, ())

    def _take_waitfor(self) -> Statement:
        self.expect("WAITFOR")
        if not self.accept("DELAY"):
            raise self.unsupported("WAITFOR " + self.current.word)
        return ast.WaitFor(self.scalar())

    def _take_use(self) -> Statement:
        self.expect("USE")
        return ast.Use(self.identifier())

    def _take_exec(self) -> Statement:
        self.advance()
        return self._procedure_call()

    def _procedure_call(self) -> Statement:
        if self.at_symbol("(") or (self.current.kind == lexer.VARIABLE and self.ahead().text == "="):
            raise self.unsupported("EXEC of a string or into a variable")
        name = self.object_name()
        arguments: list[tuple[str, Expression]] = []
        while self.current.kind != lexer.END and not self.at_symbol(";"):
            arguments.append(self._argument())
            if not self.accept_symbol(","):
                break
        return ast.Execute(tuple(part.lower() for part in name), tuple(arguments))

    _take_execute = _take_exec

    def _argument(self) -> tuple[str, Expression]:
        name = ""
        if self.current.kind == lexer.VARIABLE and self.ahead().text == "=":
            name = self.advance().text.lower()
            self.advance()
        value: Expression
        if self.at_identifier():
            text = self.advance().text
            value = string_literal(text, unicode=True)
        else:
            value = self.scalar()
        if self.at_any("OUTPUT", "OUT"):
            raise self.unsupported("OUTPUT")
        return name, value

    def _take_print(self) -> Statement:
        self.advance()
        return ast.Print(self.scalar())

    def _take_raiserror(self) -> Statement:
        self.advance()
        self.expect_symbol("(")
        message = self.scalar()
        self.expect_symbol(",")
        severity = self.scalar()
        self.expect_symbol(",")
        state = self.scalar()
        self.expect_symbol(")")
        return ast.RaiseError(50000, message, severity, state)


STATEMENTS = frozenset(name.removeprefix("_take_").upper() for name in dir(BatchParser) if name.startswith("_take_"))
_UNSUPPORTED_WORDS = """
MERGE WITH DBCC BACKUP RESTORE BULK WHILE RETURN GOTO THROW FETCH OPEN CLOSE DEALLOCATE KILL CHECKPOINT SHUTDOWN
ENABLE DISABLE READTEXT WRITETEXT RECONFIGURE REVERT
"""
UNSUPPORTED = frozenset(_UNSUPPORTED_WORDS.split())


def parse_batch(text: str) -> tuple[Statement, ...]:
    """Return the statements of a batch; equal short texts are parsed once."""
    return _parse_once(text) if len(text) <= CACHED_TEXT else BatchParser(text).batch()


@lru_cache(maxsize=512)
def _parse_once(text: str) -> tuple[Statement, ...]:
    return BatchParser(text).batch()
