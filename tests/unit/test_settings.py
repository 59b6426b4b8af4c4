"""Settings: the reference file, where values come from, and what is said about mistakes."""

from __future__ import annotations

import json
import re
import tomllib
from ipaddress import ip_network
from pathlib import Path

import pytest

from tusd_py.commands.check import shown
from tusd_py.model.events import EventType
from tusd_py.model.hooks import Hook
from tusd_py.settings import EVENT_TYPES, Sourced, ServerSettings, Settings, SettingsError, find_config, load
from tusd_py.settings.loading import sections

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "config.toml"
NAMES = [f"{section}.{key}" for section, kind in sections().items() for key in kind.model_fields]


def problems(environ: dict[str, str] | None = None, config: Path | None = None, **flags: str) -> list[str]:
    """What is said about settings that cannot be used."""
    given = {name.replace("__", "."): Sourced(value, "--" + name) for name, value in flags.items()}
    with pytest.raises(SettingsError) as raised:
        load(config, environ, given)
    return raised.value.problems


def test_the_reference_holds_every_setting_with_its_default() -> None:
    """``config.toml`` names every setting, and loading it changes nothing."""
    tables = tomllib.loads(REFERENCE.read_text())
    assert sorted(NAMES) == sorted(f"{section}.{key}" for section, table in tables.items() for key in table)
    assert Settings() == load(REFERENCE)


def test_every_setting_in_the_reference_bears_a_comment() -> None:
    """Above each key of ``config.toml`` stands a sentence about it."""
    lines = REFERENCE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z_]+ = ", line):
            assert lines[number - 1].startswith("# "), f"line {number + 1}: {line}"


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    """The later of file, environment and flags wins, setting by setting."""
    config = tmp_path / "config.toml"
    config.write_text('[server]\nport = 1\nhost = "a"\nworkers = 3\n')
    environ = {"TUSD_PY_SERVER__PORT": "2", "TUSD_PY_SERVER__HOST": "b", "HOME": "/"}
    loaded = load(config, environ, {"server.port": Sourced("3", "--port")})
    assert (3, "b", 3) == (loaded.server.port, loaded.server.host, loaded.server.workers)


def test_the_configuration_file_is_looked_for_in_three_places(tmp_path: Path) -> None:
    """The file named, else the one the variable names, else ``config.toml`` where there is one."""
    environ = {"TUSD_PY_CONFIG": "/etc/variable.toml"}
    assert Path("/etc/flag.toml") == find_config(Path("/etc/flag.toml"), environ, tmp_path)
    assert Path("/etc/variable.toml") == find_config(None, environ, tmp_path)
    assert find_config(None, {}, tmp_path) is None
    (tmp_path / "config.toml").write_text("")
    assert tmp_path / "config.toml" == find_config(None, {}, tmp_path)
    assert Settings() == load(None, environ), "the variable that names the file is no setting"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("500", 500), ("10GiB", 10 * 1024**3), ("1.5 MB", 1_500_000), ("64KiB", 65536), ("2TB", 2 * 10**12)],
)
def test_sizes_have_units(text: str, expected: int) -> None:
    """A size is a number of bytes or has a decimal or binary unit."""
    assert expected == load(None, {"TUSD_PY_UPLOADS__LENGTH_MAX": text}).uploads.length_max


@pytest.mark.parametrize("text", ["a, b", '["a", "b"]', " a,b, "])
def test_lists_from_the_environment(text: str) -> None:
    """A variable holds a list with commas, or as JSON."""
    assert ("a", "b") == load(None, {"TUSD_PY_CORS__ALLOW_HEADERS": text}).cors.allow_headers


def test_values_are_brought_into_one_form() -> None:
    """Paths and URLs of the endpoint end with a slash, networks are spelled as usual."""
    server = load(
        None,
        {
            "TUSD_PY_SERVER__BASE_PATH": "/a",
            "TUSD_PY_SERVER__PUBLIC_URL": "https://x.example/a",
            "TUSD_PY_SERVER__TRUSTED_PROXIES": "10.0.0.7, 10.1.2.3/8, ::1",
        },
    ).server
    assert "/a/" == server.base_path
    assert "https://x.example/a/" == server.public_url
    networks = (ip_network("10.0.0.7/32"), ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert networks == server.trusted_proxies
    assert server == ServerSettings.model_validate(server.model_dump()), "values that were read once are read again"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SERVER__PORT", "70000", "it must be a whole number from 0 to 65535"),
        ("SERVER__PORT", "", "it must be a whole number from 0 to 65535"),
        ("SERVER__WORKERS", "0", "it must be a whole number from 1 to 1000000"),
        ("SERVER__PAGE", "maybe", "it must be true or false"),
        ("SERVER__BASE_PATH", "/", "it must be an absolute path"),
        ("SERVER__BASE_PATH", "/a/../b/", "it must be an absolute path"),
        ("SERVER__PUBLIC_URL", "example.com/files", "it must be an absolute URL"),
        ("SERVER__PUBLIC_URL", "https://u:p@example.com/", "it must be an absolute URL"),
        ("HOOKS__ENABLED_EVENTS", "pre-crate", "it must be a list of hooks: authorize, or tusd's"),
        ("HOOKS__HTTP_FORWARD_HEADERS", "Cookie,Host", "it must be a list of names of headers, without those that"),
        ("HOOKS__HTTP_FORWARD_HEADERS", "a b", "it must be a list of names of headers"),
        *(
            ("HOOKS__HTTP_URLS", url, "it must be a list of absolute URLs such as https://example.com/hooks")
            for url in ("h/x", "ftp://h/x", "http:///x", "http://h:0/", "http://h:70000/", "http://h/#x", "http://h/ä")
        ),
        *(
            ("HOOKS__HTTP_URLS", f"http://{host}/x", "it must be a list of absolute URLs")
            for host in ("a..b", "a" * 64, "300.1.1.1", "[::1]x", "[::g]", "[1.2.3.4]", "a|b", "a b", "*")
        ),
        ("SERVER__TRUSTED_PROXIES", "localhost", "it must be a list of addresses or networks"),
        ("SERVER__KEEP_ALIVE_SECONDS", "0", "it must be a number of seconds, more than 0"),
        ("SERVER__KEEP_ALIVE_SECONDS", "nan", "it must be a number of seconds, more than 0"),
        ("EXPIRATION__UNFINISHED_SECONDS", "-1", "it must be a number of seconds, 0 or more"),
        ("EXPIRATION__UNFINISHED_SECONDS", "1e300", "it must be a number of seconds, 0 or more"),
        ("STORAGE__KIND", "s3", 'it must be "disk" or "memory"'),
        ("STORAGE__FILE_MODE", "640", "it must be an octal mode"),
        ("UPLOADS__LENGTH_MAX", "10 gigs", "it must be a number of bytes, or a size"),
        ("UPLOADS__LENGTH_MAX", "0.3B", "it must be a whole number of bytes"),
        ("UPLOADS__LENGTH_MAX", "9999999TiB", "it must be a number of bytes, or a size"),
        ("UPLOADS__SAVE_INTERVAL_BYTES", "0", "it must be a size of at least one byte"),
        ("UPLOADS__GONE_STATUS", "403", "it must be 404 or 410"),
        ("UPLOADS__INLINE_TYPES", "png", "it must be a list of media types"),
        ("CORS__ALLOW_ORIGINS", "https://a.example/", "it must be a list of origins"),
        ("CORS__ALLOW_HEADERS", "a b", "it must be a list of names of headers"),
        ("METRICS__PATH", "metrics", "it must be an absolute path"),
        ("LOG__LEVEL", "loud", 'it must be "debug", "info", "warning" or "error"'),
    ],
)
def test_a_bad_value_is_told_with_name_value_origin_and_what_is_allowed(
    variable: str, value: str, allowed: str
) -> None:
    """One sentence for one mistake, with everything that is needed to correct it."""
    (problem,) = problems({f"TUSD_PY_{variable}": value})
    name = variable.lower().replace("__", ".")
    assert problem.startswith(f"{name} is "), problem
    assert f"(TUSD_PY_{variable}); {allowed}" in problem, problem


@pytest.mark.parametrize("text", ["port = true", 'port = "x"', "port = 1.5", "keep_alive_seconds = true"])
def test_the_file_is_checked_like_the_environment(tmp_path: Path, text: str) -> None:
    """Values of the wrong kind in the file are refused; a switch is no number."""
    config = tmp_path / "config.toml"
    config.write_text(f"[server]\n{text}\n")
    (problem,) = problems(config=config)
    assert f"({config}); it must be" in problem


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SERVER__PROT": "1"}, "server.prot (TUSD_PY_SERVER__PROT) is not a setting; did you mean server.port?"),
        ({"SERVR__PORT": "1"}, "servr.port (TUSD_PY_SERVR__PORT) is not a setting; did you mean server.port?"),
        ({"ZZZ": "1"}, "zzz (TUSD_PY_ZZZ) is not a setting; see config.toml"),
        ({"SERVER": "1"}, "server (TUSD_PY_SERVER) is not a setting; did you mean server?"),
    ],
)
def test_unknown_variables_are_mistakes(environ: dict[str, str], expected: str) -> None:
    """A variable with our prefix that is no setting keeps the server from starting, and the nearest name is told."""
    (problem,) = problems({f"TUSD_PY_{name}": value for name, value in environ.items()})
    assert expected.partition(" did")[0] in problem
    if "port" in expected:
        assert expected == problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server\n", "is not TOML"),
        ("[nothing]\n", "nothing ("),
        ("[server]\nnothing = 1\n", "server.nothing ("),
        ("server = 1\n", "must be a table"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, text: str, expected: str) -> None:
    """A file that is no TOML, and names in it that are no settings, are told with the file's name."""
    config = tmp_path / "config.toml"
    config.write_text(text)
    (problem,) = problems(config=config)
    assert expected in problem
    assert str(config) in problem


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that was named and cannot be read is told with the reason."""
    (problem,) = problems(config=tmp_path / "none.toml")
    assert problem.endswith("cannot be read: No such file or directory")


@pytest.mark.parametrize(
    "environ",
    [
        {"SERVER__UNIX_SOCKET": "/run/tus.sock", "SERVER__SYSTEMD_SOCKET": "true"},
        {"SERVER__TLS_CERTIFICATE": "cert.pem"},
        {"SERVER__WORKERS": "2", "STORAGE__KIND": "memory"},
        {"SERVER__WORKERS": "2", "RECORDS__URL": "memory"},
        {"CORS__ALLOW_CREDENTIALS": "true"},
        {"METRICS__PATH": "/files/metrics"},
        {"METRICS__PATH": "/healthz"},
        {"SERVER__BASE_PATH": "/readyz"},
        {"SERVER__BASE_PATH": "/metrics/files"},
        {"RECORDS__URL": "sqlite:///"},
        {"STORAGE__KIND": "memory", "WEBHOOKS__ENDPOINTS": '[{"name": "a", "url": "http://a/"}]'},
        {"API__ENABLED": "true", "SERVER__BASE_PATH": "/api/files/"},
    ],
)
def test_settings_that_do_not_agree_are_refused_in_one_sentence(environ: dict[str, str]) -> None:
    """Values that are right by themselves but not together are one sentence that names the settings."""
    (problem,) = problems({f"TUSD_PY_{name}": value for name, value in environ.items()})
    assert any(name.lower().replace("__", ".") in problem for name in environ), problem


def test_a_database_url_is_not_repeated() -> None:
    """What is said about a database that is not supported holds no password."""
    (problem,) = problems({"TUSD_PY_RECORDS__URL": "postgresql://user:hunter2@db/tus"})
    assert "'postgresql'" in problem
    assert "hunter2" not in problem


def test_every_mistake_is_told_at_once() -> None:
    """Three mistakes are three sentences."""
    assert 3 == len(problems({"TUSD_PY_SERVER__PORT": "x", "TUSD_PY_LOG__LEVEL": "x", "TUSD_PY_SERVER__PAGE": "x"}))


def test_where_records_are() -> None:
    """Records are beside the data unless told otherwise."""
    here = load(None, {"TUSD_PY_STORAGE__DATA_DIR": "/srv/tus"})
    assert ("sqlite:////srv/tus/tusd.sqlite3", "/srv/tus/tusd.sqlite3") == (here.database_url, here.database_path)
    elsewhere = load(None, {"TUSD_PY_RECORDS__URL": "sqlite:///db/a.sqlite3"})
    assert ("sqlite:///db/a.sqlite3", "db/a.sqlite3") == (elsewhere.database_url, elsewhere.database_path)
    assert load(None, {"TUSD_PY_RECORDS__URL": "memory"}).database_path is None


def test_no_password_is_told() -> None:
    """A mistake in a URL is shown without the credentials in it."""
    (problem,) = problems({"TUSD_PY_HOOKS__HTTP_URLS": "http://me:secret@a..b/x"})
    assert "http://...@a..b/x" in problem and "secret" not in problem


@pytest.mark.parametrize("hook", list(Hook))
def test_every_hook_can_be_enabled(hook: Hook) -> None:
    """The settings know the hooks by the names that the gate has for them."""
    assert (hook,) == load(None, {"TUSD_PY_HOOKS__ENABLED_EVENTS": hook}).hooks.enabled_events


@pytest.mark.parametrize("host", ["h", "a_b.c", "127.0.0.1:9000", "[::1]:80", "h:", "me:a%3Ab@h.example", "A.B"])
def test_urls_of_hooks(host: str) -> None:
    """Names as containers have them, addresses, ports and credentials; http and https."""
    urls = f"http://{host}/x?y=1,https://{host}"
    assert tuple(urls.split(",")) == load(None, {"TUSD_PY_HOOKS__HTTP_URLS": urls}).hooks.http_urls


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ({"url": "http://h/"}, "webhooks.endpoints, number 1: name (TUSD_PY_WEBHOOKS__ENDPOINTS) is missing"),
        ({"name": "a", "url": "http://h/", "x": 1}, "number 1: x (TUSD_PY_WEBHOOKS__ENDPOINTS) is not a setting"),
        ({"name": "a", "url": "h"}, "number 1: url (TUSD_PY_WEBHOOKS__ENDPOINTS) must be a list of absolute URLs"),
        ({"name": "A", "url": "http://h/"}, "number 1: name (TUSD_PY_WEBHOOKS__ENDPOINTS) must be a name of small"),
        ({"name": "a", "url": "http://h/", "events": ["x.*"]}, "must be a list of types of events"),
        ({"name": "a", "url": "http://h/", "secrets": ["whsec_hush"]}, "must be a list of keys"),
    ],
)
def test_mistakes_in_an_endpoint_are_told_without_its_secrets(endpoint: dict[str, object], expected: str) -> None:
    """Which of them, what is wrong, and nothing of the values beside it."""
    (problem,) = problems(
        {"TUSD_PY_WEBHOOKS__ENDPOINTS": json.dumps([{"secrets": ["whsec_hush" + "A" * 32], **endpoint}])}
    )
    assert expected in problem
    assert "hush" not in problem


def test_an_endpoint_is_shown_without_its_secrets() -> None:
    """Neither keys nor passwords come onto a screen; a child process gets them all the same."""
    secret = "whsec_" + "A" * 32
    endpoint = {"name": "a", "url": "http://u:hush@h/?token=hush", "secrets": [secret]}
    settings = load(None, {"TUSD_PY_WEBHOOKS__ENDPOINTS": json.dumps([endpoint])})
    assert "a (http://...@h/, signed with 1)" == shown(settings, "webhooks.endpoints")
    assert secret not in repr(settings)
    assert settings == Settings.model_validate_json(settings.model_dump_json())


def test_the_types_of_events_are_those_that_there_are() -> None:
    """Settings know them by heart, for they know nothing else of events."""
    assert list(EVENT_TYPES) == [kind.value for kind in EventType]
