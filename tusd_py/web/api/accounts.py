"""``/api/accounts``: accounts, for administrators; and the password of the client's own account."""

from __future__ import annotations

from tusd_py.access.accounts import AccountChanged, AccountEditor, AccountExists, AccountProblem, checked_name
from tusd_py.access.login import METHOD
from tusd_py.access.passwords import PASSWORD_CHARACTERS_MAX
from tusd_py.contracts.accounts import Accounts
from tusd_py.model.account import Account
from tusd_py.model.audit import AuditKind
from tusd_py.model.principal import ASSIGNABLE_ROLES, Role, Verb
from tusd_py.protocol.access_errors import LoginRefused
from tusd_py.protocol.errors import AccessDenied
from tusd_py.uploads.erase import erase_owner
from tusd_py.views import account_view
from tusd_py.web.api.call import Access, ApiRoute, Call, available
from tusd_py.web.api.cursors import format_cursor, parse_cursor
from tusd_py.web.api.problems import ApiError

_KIND = "accounts"


async def list_accounts(call: Call) -> object:
    """Accounts by name."""
    accounts, limit, cursor = _editor(call).accounts, call.query.limit(), call.query.text("cursor")
    after = str(parse_cursor(cursor, _KIND, str)[0]) if cursor else ""
    found = await accounts.list_accounts(after_name=after, limit=limit)
    more = format_cursor(_KIND, found[-1].name) if len(found) == limit else None
    return {"accounts": [account_view(each) for each in found], "next": more}


async def add_account(call: Call) -> object:
    editor = _editor(call)
    body = (await call.json()).only("name", "password", "roles")
    name, roles = body.text("name"), _roles(body.texts("roles", [Role.UPLOADER.value]))
    password = body.text("password", characters_max=PASSWORD_CHARACTERS_MAX)
    try:
        audit = call.audit("create", AuditKind.ACCOUNT, checked_name(name))
        return account_view(await editor.add(name, password, roles, audit))
    except AccountProblem as problem:
        raise _refused(problem) from None


async def show_account(call: Call) -> object:
    return account_view(await _found(_editor(call).accounts, call.path("name")))


async def change_account(call: Call) -> object:
    """Replace the roles, disable or enable the account, or set its password; whatever the body names."""
    editor, name = _editor(call), call.path("name")
    body = (await call.json()).only("roles", "disabled", "password")
    account = await _found(editor.accounts, name)
    roles = _roles(body.texts("roles")) if "roles" in body else None
    disabled = body.flag("disabled") if "disabled" in body else None
    password = body.text("password", characters_max=PASSWORD_CHARACTERS_MAX) if "password" in body else None
    acts = {
        "set-password": password is not None,
        "set-roles": roles is not None,
        "disable": disabled is True,
        "enable": disabled is False,
    }
    audit = [entry for act, done in acts.items() if done for entry in call.audit(act, AuditKind.ACCOUNT, account.name)]
    try:
        await editor.change(account, password=password, roles=roles, is_disabled=disabled, audit=audit)
    except AccountProblem as problem:
        raise _refused(problem) from None
    return account_view(await _found(editor.accounts, account.name))


async def erase_account(call: Call) -> object:
    """Erase the account with everything that belongs to its owner; see ``uploads.erase``."""
    editor = _editor(call)
    name = (await _found(editor.accounts, call.path("name"))).name
    data = available(call.ports.personal_data, "records are kept in memory")
    done = await erase_owner(call.ports, data, name)
    return {
        "pseudonym": done.pseudonym,
        "uploads_deleted": done.deleted,
        "uploads_kept": list(done.kept),
        "keys_deleted": done.keys,
        "events_left": done.erased.events_left,
    }


async def change_own_password(call: Call) -> object:
    """Replace the password of the account that is logged in; all its sessions end. The old one is needed too."""
    editor, principal = _editor(call), call.principal
    if principal.method != METHOD:
        raise AccessDenied
    body = (await call.json()).only("password", "new_password")
    password = body.text("password", characters_max=PASSWORD_CHARACTERS_MAX)
    new_password = body.text("new_password", characters_max=PASSWORD_CHARACTERS_MAX)
    account = await _found(editor.accounts, principal.subject)
    await call.ports.rates.logins.ensure_allowed(account.name, call.address)
    if not await editor.passwords.verify(account.password_hash, password, call.address):
        await call.ports.rates.logins.failed(call.address)
        raise LoginRefused
    await call.ports.rates.logins.succeeded(account.name, call.address)
    try:
        await editor.set_password(
            account.name, new_password, call.audit("set-password", AuditKind.ACCOUNT, account.name)
        )
    except AccountProblem as problem:
        raise _refused(problem) from None
    return None


def _refused(problem: AccountProblem) -> ApiError:
    is_conflict = isinstance(problem, AccountExists | AccountChanged)
    return ApiError(409 if is_conflict else 400, str(problem))


async def _found(accounts: Accounts, name: str) -> Account:
    try:
        account = await accounts.find(checked_name(name))
    except AccountProblem:
        account = None
    if account is None:
        raise ApiError(404, "no account has this name")
    return account


def _roles(texts: list[str]) -> frozenset[Role]:
    if not set(texts) <= set(ASSIGNABLE_ROLES):
        raise ApiError(400, f"roles must be of {', '.join(ASSIGNABLE_ROLES)}")
    return frozenset(Role(text) for text in texts)


def _editor(call: Call) -> AccountEditor:
    access = call.ports.access_ports
    return available(None if access is None else access.editor, "accounts are off (accounts.enabled)")


ROUTES = (
    ApiRoute("GET", "/api/accounts", list_accounts, Verb.OPERATE, query=("cursor", "limit")),
    ApiRoute("POST", "/api/accounts", add_account, Verb.OPERATE, status=201),
    ApiRoute("GET", "/api/accounts/{name}", show_account, Verb.OPERATE),
    ApiRoute("PATCH", "/api/accounts/{name}", change_account, Verb.OPERATE),
    ApiRoute("DELETE", "/api/accounts/{name}", erase_account, Verb.OPERATE),
)

#: Served also while the API is off.
OWN_ROUTES = (ApiRoute("POST", "/api/auth/password", change_own_password, Access.PRINCIPAL),)
