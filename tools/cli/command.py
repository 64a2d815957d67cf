"""What every command shares: its options, its session, who acts, and how it prints.

    @command(group, "show", example="credledger app show payroll", acts=True)
    @click.argument("application")
    def show(run: Run, application: str) -> None: ...

The decorator adds `--json` and the settings to each command, `--reason` where it appends,
`--as`/`--with` and `--token-file` where somebody can be acted for, `--require-record` where it asks
about the history, and `--yes` where it destroys. A command gets one `Run`: parse with click, call
one function, print with `run.print`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ledger.errors import InvalidInput, KeyUnavailable, Unavailable
from ledger.replacing import replace
from tools.cli.noun import Verb
from tools.cli.number import NUMBER, Range
from tools.people import prompts
from tools.people.documents import StandardInput
from tools.settings import NO_TLS_FILES, Given, Settings, TlsFiles, decide
from tools.showing import show

if TYPE_CHECKING:
    from ledger.claims import Claim
    from ledger.policy import Caller
    from ledger.tokens.verifier import VerifiedCaller
    from ledger.usecases.acting import Acting
    from tools.showing.listing import Listing
    from tools.wiring import Session, Unlock

REASON_LENGTH_MAX = 1024
WITH_JSON = "With --json: "
"""How the shape of a command's JSON answer begins in its help."""
UNRECORDABLE = {
    "store-not-writable": "nothing can be written to this store.",
    "auditor-file-behind": "this keyring lacks the newest epochs. What it does not open is listed as"
    " unreadable; ask an operator for a new export of it.",
}
"""Codes by which this process can record nothing, whatever it does, and what is said then."""
JSON_WANTED = "credledger.json"
"""Where the program notes that `--json` stood before the subcommand."""
_SETTINGS = Given.__struct_fields__


class Run(msgspec.Struct):
    """One command's run: what was said besides its own arguments."""

    given: Given
    json: bool
    reason: str
    as_claim: str | None
    with_claims: tuple[str, ...]
    yes: bool
    standard_input: StandardInput
    require_record: bool = False
    archive: Path | None = None
    """An archive that is asked instead of the store."""
    token_file: str | None = None
    """Where the token lies as whose subject is acted; `-` is standard input."""
    server: str | None = None
    """A service that is asked instead of the store."""
    tls: TlsFiles = NO_TLS_FILES
    """With which certificates it is asked, by the options alone."""
    verified: VerifiedCaller | None = None
    """Whom the token speaks for, once a session has verified it."""
    is_unrecorded_said: bool = False
    """Whether it was said that the question could not be recorded."""

    def settings(self) -> Settings:
        """All settings, decided."""
        return decide(self.given)

    @contextmanager
    def session(
        self,
        *,
        operator: bool = True,
        unlock: Unlock | None = None,
        of_key_backup: bool = False,
        only_asks: bool = False,
    ) -> Iterator[Session]:
        """The open ledger; an auditor's unlock is refused unless `operator` is False.

        `unlock` takes the place of the keyring with its passphrase or key file, and gives a key
        backup that is to be put back with `of_key_backup`; for `only_asks` see `asking`.
        """
        from tools.wiring import open_session

        with open_session(
            self.settings(),
            self.standard_input,
            operator=operator,
            unlock=unlock,
            of_key_backup=of_key_backup,
            only_asks=only_asks,
        ) as session:
            if self.token_file is not None:
                self._verify(session, self.token_file)
            yield session
        missed = session.ledger.unremembered
        if missed is not None:
            show.print_note(f"What was recorded stands, but: {missed.message}")
            show.print_note(f"  {missed.hint}")

    @contextmanager
    def asking(self, *, partly: bool = False) -> Iterator[Session]:
        """The open ledger for a question of an operator's or auditor's about its history.

        A store in which nothing can be recorded serves. Whom an operator acts for needs the right
        to read the history; an auditor acts for nobody. An archive is asked in a scratch place.
        `partly` is an answer that tells of each row which it cannot open, or fails at it: for that,
        an auditor's keyring which lacks the newest epochs serves as well.
        """
        from ledger.policy import Verb
        from ledger.usecases.desk import not_allowed

        with self._asked() as session:
            if not partly:
                session.ledger.require_all_opened()
            if not session.ledger.allowed(self.acting(), Verb.READ_HISTORY):
                raise not_allowed()
            yield session

    def _asked(self) -> AbstractContextManager[Session]:
        operator = self.as_claim is not None or self.token_file is not None
        if self.archive is not None and self.token_file is not None:
            raise InvalidInput(
                "token-for-archive",
                "A token is verified where its refusal can be recorded, not in an archive.",
                hint="Ask the archive without --token-file, or the ledger itself.",
            )
        if self.archive is None:
            return self.session(operator=operator, only_asks=True)
        self.refuse_unrecorded()
        from tools.recovering.archived import open_archived

        return open_archived(self.settings(), self.standard_input, self.archive, operator=operator)

    def refuse_unrecorded(self) -> None:
        """`query-unrecorded` for an archive that is asked with --require-record."""
        if self.require_record:
            raise Unavailable(
                "query-unrecorded",
                "The question cannot be recorded in this store, so it is not answered.",
                hint="Nothing is ever recorded in an archive: ask it without --require-record.",
            )

    def record(
        self, session: Session, question: str, asked: Mapping[str, object], rows: int
    ) -> None:
        """Record a question before it is answered; said on standard error where it cannot be.

        With --require-record it is `query-unrecorded` instead, and nothing is answered.
        """
        if self.archive is not None:
            self._say_unrecorded("an archive was asked.")
            return
        told = {name: value for name, value in asked.items() if value is not None}
        text = json.dumps(told, ensure_ascii=False) if told else ""
        try:
            session.record_query(self.acting(), f"{question} {text}".strip(), rows)
        except (KeyUnavailable, Unavailable) as error:
            why = UNRECORDABLE.get(error.code)
            if why is None:
                raise
            if self.require_record:
                raise Unavailable(
                    "query-unrecorded",
                    "The question cannot be recorded in this store, so it is not answered.",
                    hint=error.hint
                    if isinstance(error, KeyUnavailable)
                    else "Ask where the ledger is written, or without --require-record.",
                ) from error
            self._say_unrecorded(why)

    def _say_unrecorded(self, why: str) -> None:
        """Say so once, however many pages an answer has."""
        if not self.is_unrecorded_said:
            self.is_unrecorded_said = True
            show.print_note(f"This question was not recorded: {why}")

    def _verify(self, session: Session, place: str) -> None:
        from tools.token_input import read_token, verified_caller

        self._refuse_two_callers()
        self.verified = verified_caller(session, read_token(place, self.standard_input))

    def _refuse_two_callers(self) -> None:
        if self.as_claim is not None or self.with_claims:
            raise InvalidInput(
                "two-callers",
                "A token says whom it speaks for; --as and --with would say it again.",
                hint="Give either --token-file or --as.",
            )

    def caller(self) -> Caller | None:
        """Whom the operator acts for; None when acting as the slot itself.

        A token's subject is known within a session only, which verifies it.
        """
        if self.token_file is not None:
            assert self.verified is not None
            return self.verified.caller
        from ledger.claims import parse_caller, parse_claim
        from ledger.policy import Caller

        groups = tuple(parse_claim(text) for text in self.with_claims)
        if self.as_claim is None:
            if groups:
                raise InvalidInput("with-without-as", "--with needs --as.")
            return None
        return Caller(parse_caller(self.as_claim), groups)

    def require_caller(self) -> None:
        """`caller-required` when nobody was named for whom the operator could act."""
        if self.token_file is None and self.caller() is None:
            raise InvalidInput(
                "caller-required",
                "Credentials are read for somebody only.",
                hint="Name who reads with --as, for example --as user:alice.",
            )

    def required_caller(self) -> Caller:
        """Whom the operator acts for; `caller-required` when nobody was named."""
        self.require_caller()
        caller = self.caller()
        assert caller is not None
        return caller

    def acting(self) -> Acting:
        """Who acts and why."""
        from ledger.usecases.acting import Acting

        return Acting(self.caller(), self.checked_reason())

    def checked_reason(self) -> str:
        """The reason; `invalid-reason` when it is too long or holds control characters."""
        if len(self.reason) > REASON_LENGTH_MAX or not self.reason.isprintable():
            raise InvalidInput(
                "invalid-reason",
                f"A reason is one line of at most {REASON_LENGTH_MAX} characters.",
            )
        return self.reason

    def owner(self, text: str | None) -> Claim | None:
        """The claim given with --owner."""
        from ledger.claims import parse_owner

        return None if text is None else parse_owner(text)

    def must_ask(self) -> bool:
        """Whether `consent` will ask, for a question that takes an unlocked ledger to be put."""
        return prompts.must_ask(yes=self.yes)

    def consent(self, question: str) -> None:
        """Ask before something is destroyed."""
        prompts.consent(question, yes=self.yes)

    def print(
        self,
        document: object,
        columns: Mapping[str, str] | None = None,
        *,
        sentence: str = "",
    ) -> None:
        """Print the result: JSON if asked, else a table, a sentence, or its facts."""
        if self.json:
            show.print_json(document)
        elif columns is not None:
            assert isinstance(document, Sequence)
            show.print_table(document, columns)
        elif sentence:
            show.print_line(sentence)
        else:
            assert isinstance(document, Mapping)
            show.print_facts(document)

    def listing(self, columns: Mapping[str, str], *, as_csv: bool = False) -> Listing:
        """Where a result goes that comes in pages of rows."""
        from tools.showing.listing import CsvListing, JsonListing, TableListing

        if as_csv:
            return CsvListing(list(columns))
        return JsonListing() if self.json else TableListing(columns)


def command(
    group: click.Group | None,
    name: str,
    *,
    example: str,
    appends: bool = False,
    acts: bool = False,
    asks: bool = False,
    of_archives: bool = False,
    destroys: bool = False,
    new_passphrase: bool = False,
    answers: str = "",
    context: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command; its first argument is the `Run`.

    One that `asks` about the history is recorded as a question; one `of_archives` can be asked of
    an archive as well.
    `answers` is the shape of its JSON answer, for help and reference.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def body(**arguments: Any) -> None:
            context = click.get_current_context()
            run = _run(context, arguments, of_archives=of_archives)
            if run.server is None:
                function(run, **arguments)
                return
            from tools.cli.served import run_at_server

            run_at_server(run, context.command_path.partition(" ")[2], arguments)

        decorated: Callable[..., None] = body
        for option in _options(
            appends=appends or asks,
            acts=acts,
            asks=asks,
            of_archives=of_archives,
            destroys=destroys,
            new_passphrase=new_passphrase,
        ):
            decorated = option(decorated)
        made = click.command(
            name,
            cls=Verb,
            epilog=_epilog(example, answers),
            context_settings={"help_option_names": ["-h", "--help"], **(context or {})},
        )(decorated)
        if group is not None:
            group.add_command(made)
        return made

    return decorate


def _epilog(example: str, answers: str) -> str:
    told = f"\b\n{WITH_JSON}{answers}\n\n" if answers else ""
    return f"{told}\b\nExample:\n  {example}"


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the settings' options to a command or to the program itself."""
    for option in reversed(
        (
            click.option("--store", metavar="URL", help="Where the ledger is kept."),
            click.option("--keyring", metavar="PATH", help="The keyring file."),
            click.option(
                "--passphrase-file", metavar="FILE", help="Holds the passphrase; - is stdin."
            ),
            click.option("--key-file", metavar="FILE", help="Unlocks instead of a passphrase."),
            click.option("--slot", type=NUMBER, help="Which slot to unlock."),
            click.option(
                "--accept-clock",
                is_flag=True,
                default=None,
                help="The clock is right, though far ahead of the log; recorded with the first thing"
                " that is. All later rows are dated after it, for good.",
            ),
            click.option(
                "--accept-async",
                is_flag=True,
                default=None,
                help="Go on although commits wait for no standby; recorded.",
            ),
        )
    ):
        function = option(function)
    return function


def _options(
    *,
    appends: bool,
    acts: bool,
    asks: bool,
    of_archives: bool,
    destroys: bool,
    new_passphrase: bool,
) -> Iterator[Callable[[Callable[..., None]], Callable[..., None]]]:
    yield settings_options
    if new_passphrase:
        yield click.option(
            "--new-passphrase-file", metavar="FILE", help="Holds the new passphrase."
        )
        yield click.option(
            "--argon2-memory",
            type=Range(19, 4096),
            default=64,
            show_default=True,
            metavar="MIB",
            help="Memory that trying one passphrase takes.",
        )
    yield click.option("--json", is_flag=True, help="Print one JSON document.")
    if appends:
        yield click.option("--reason", default="", metavar="TEXT", help="Why; is recorded.")
    if asks:
        yield click.option(
            "--require-record", is_flag=True, help="Answer only if the question can be recorded."
        )
    if of_archives:
        yield click.option(
            "--archive",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Ask an archive of `backup create` instead of the store; is not recorded.",
        )
    if destroys:
        yield click.option("--yes", is_flag=True, help="Do not ask.")
    if acts:
        yield click.option(
            "--with",
            "with_claims",
            multiple=True,
            metavar="CLAIM",
            help="A further claim of whom you act for; repeatable.",
        )
        yield click.option("--as", "as_claim", metavar="CLAIM", help="For whom you act.")
        yield click.option(
            "--token-file", metavar="FILE", help="Act as a token's subject; - is stdin."
        )
        yield click.option(
            "--server",
            metavar="URL",
            help="Ask this service instead: https://HOST or unix:///SOCKET.",
        )
        yield click.option(
            "--ca-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The authority of the service's certificate, if not one of the system's.",
        )
        yield click.option(
            "--client-cert",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Your certificate, PEM, if the service asks for one.",
        )
        yield click.option(
            "--client-key",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Its key, PEM, if it is not in the same file.",
        )


def _refuse_settings(given: Given) -> None:
    """`usage` for options that open a ledger, where a service is asked that has its own open."""
    said = [f"--{name.replace('_', '-')}" for name in _SETTINGS if getattr(given, name) is not None]
    if said:
        raise InvalidInput(
            "usage",
            f"{' and '.join(said)} would open a ledger here, and --server asks one elsewhere.",
            hint="Leave out one or the other.",
        )


def _run(context: click.Context, arguments: dict[str, Any], *, of_archives: bool) -> Run:
    """Take the shared options out of `arguments`; those after the subcommand win."""
    inherited = context.find_root().obj
    given = inherited if isinstance(inherited, Given) else Given()
    said = {name: arguments.pop(name, None) for name in _SETTINGS}
    if said["passphrase_file"] is not None or said["key_file"] is not None:
        given = replace(given, passphrase_file=None, key_file=None)
    given = replace(given, **{name: value for name, value in said.items() if value is not None})
    server = arguments.pop("server", None)
    if server is not None:
        _refuse_settings(given)
    tls = TlsFiles(
        *(arguments.pop(name, None) for name in ("ca_file", "client_cert", "client_key"))
    )
    if tls != NO_TLS_FILES and not (server or "").startswith("https:"):
        raise InvalidInput(
            "usage", "--ca-file, --client-cert and --client-key need --server https://HOST."
        )
    return Run(
        given=given,
        json=bool(arguments.pop("json", False)) or bool(context.meta.get(JSON_WANTED)),
        reason=str(arguments.pop("reason", "")),
        as_claim=arguments.pop("as_claim", None),
        with_claims=arguments.pop("with_claims", ()),
        yes=bool(arguments.pop("yes", False)),
        require_record=bool(arguments.pop("require_record", False)),
        archive=arguments.pop("archive", None) if of_archives else None,
        token_file=arguments.pop("token_file", None),
        server=server,
        tls=tls,
        standard_input=StandardInput(),
    )
