"""Settings: the reference file, the three sources of values, and the sentences about mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlencode

import pytest
from redis.asyncio import ConnectionPool, SSLConnection

from tusd_py.model.hooks import Hook
from tusd_py.settings import (
    ServerSettings,
    Settings,
    SettingsError,
    Sourced,
    build,
    find_config,
    load,
    load_or_exit,
    without_credentials,
)
from tusd_py.settings.loading import injected, sections
from tusd_py.settings.values import _REDIS_PARAMETERS, _REDIS_TLS_PARAMETERS

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "config.toml"
NAMES = [f"{section}.{key}" for section, kind in sections().items() for key in kind.model_fields]


def problems(environ: dict[str, str] | None = None, config: Path | None = None, **flags: str) -> list[str]:
    """The sentences about settings that cannot be used."""
    sourced = {name.replace("__", "."): Sourced(value, "--" + name) for name, value in flags.items()}
    with pytest.raises(SettingsError) as raised:
        load(config, environ, sourced)
    return raised.value.problems


def test_reference_has_every_setting_with_its_default() -> None:
    """``config.toml`` names every setting, and loading it changes nothing."""
    tables = tomllib.loads(REFERENCE.read_text())
    assert sorted(NAMES) == sorted(f"{section}.{key}" for section, table in tables.items() for key in table)
    assert Settings() == load(REFERENCE)


def test_reference_explains_every_setting() -> None:
    """A comment stands above each key of ``config.toml``."""
    lines = REFERENCE.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z_]+ = ", line):
            assert lines[number - 1].startswith("# "), f"line {number + 1}: {line}"


def test_flags_override_variables_and_variables_the_file(tmp_path: Path) -> None:
    """Of file, environment and flags the later one wins, for each setting by itself."""
    config = tmp_path / "config.toml"
    config.write_text('[server]\nport = 1\nhost = "a"\nprocesses = 3\n')
    environ = {"TUSD_PY_SERVER__PORT": "2", "TUSD_PY_SERVER__HOST": "b", "HOME": "/"}
    loaded = load(config, environ, {"server.port": Sourced("3", "--port")})
    assert (3, "b", 3) == (loaded.server.port, loaded.server.host, loaded.server.processes)


def test_configuration_file_is_found_in_three_places(tmp_path: Path) -> None:
    """The file of the flag, else that of the variable, else ``config.toml`` if it exists."""
    environ = {"TUSD_PY_CONFIG": "/etc/variable.toml"}
    assert Path("/etc/flag.toml") == find_config(Path("/etc/flag.toml"), environ, tmp_path)
    assert Path("/etc/variable.toml") == find_config(None, environ, tmp_path)
    assert find_config(None, {}, tmp_path) is None
    (tmp_path / "config.toml").write_text("")
    assert tmp_path / "config.toml" == find_config(None, {}, tmp_path)
    assert Settings() == load(None, environ), "the variable that names the file is not a setting"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("500", 500), ("10GiB", 10 * 1024**3), ("1.5 MB", 1_500_000), ("64KiB", 65536), ("2TB", 2 * 10**12)],
)
def test_sizes_have_units(text: str, expected: int) -> None:
    """A size is a number of bytes, or text with a decimal or binary unit."""
    assert expected == load(None, {"TUSD_PY_UPLOADS__LENGTH_MAX": text}).uploads.length_max


@pytest.mark.parametrize("text", ["a, b", '["a", "b"]', " a,b, "])
def test_lists_in_variables(text: str) -> None:
    """A list in a variable is comma-separated or JSON."""
    assert ("a", "b") == load(None, {"TUSD_PY_CORS__ALLOW_HEADERS": text}).cors.allow_headers


def test_variable_names_a_file_that_has_the_value(tmp_path: Path) -> None:
    """``TUSD_PY_SECTION__KEY_FILE`` reads a secret from a file; the end of its last line does not count."""
    secret = tmp_path / "secret"
    for text in ("x" * 32, "x" * 32 + "\n", "x" * 32 + "\r\n"):
        secret.write_bytes(text.encode())
        assert "x" * 32 == load(None, {"TUSD_PY_JWT__SECRET_FILE": str(secret)}).jwt.secret
    headers = tmp_path / "headers"
    headers.write_text("a, b\n")
    assert ("a", "b") == load(None, {"TUSD_PY_CORS__ALLOW_HEADERS_FILE": str(headers)}).cors.allow_headers


def test_file_of_a_variable_that_cannot_be_used(tmp_path: Path) -> None:
    """A missing, large or binary file is a mistake with its reason; what it has is not repeated."""
    variable, file = "TUSD_PY_RECORDS__URL_FILE", tmp_path / "url"
    for content, reason in (
        (None, "No such file or directory"),
        (b"x" * 65537, "it has more than 65536 bytes"),
        (b"\xff", "it is not UTF-8"),
    ):
        if content is not None:
            file.write_bytes(content)
        assert [f"the file {file} ({variable}) cannot be read: {reason}"] == problems({variable: str(file)})
    (empty,) = problems({variable: "a\0b"})
    assert empty.startswith("the file a\0b (TUSD_PY_RECORDS__URL_FILE) cannot be read: ")
    both = problems({variable: str(file), "TUSD_PY_RECORDS__URL": "memory"})
    assert [f"TUSD_PY_RECORDS__URL and {variable} are both set: set only one of them"] == both
    (unknown,) = problems({"TUSD_PY_RECORDS__ZZZ_FILE": str(file)})
    assert unknown.startswith("records.zzz_file (TUSD_PY_RECORDS__ZZZ_FILE) is not a setting")
    file.write_text("short")
    (refused,) = problems({"TUSD_PY_JWT__SECRET_FILE": str(file)})
    assert "short" not in refused.split("must be")[0]
    assert "TUSD_PY_JWT__SECRET_FILE" in refused


def test_unknown_names_and_invalid_values_are_reported_at_once(tmp_path: Path) -> None:
    """Each has one sentence; none tells of a combination in which a misspelt setting may be missing."""
    config = tmp_path / "config.toml"
    config.write_text('[server]\nprot = 1\nport = "x"\n[nowhere]\na = 1\n[storage]\nkind = "s3"\n[s3]\nbukcet = "b"\n')
    found = problems(
        {"TUSD_PY_UPLOADS__LENGTH_MAX": "much", "TUSD_PY_LOG__LEVLE": "info"}, config, server__processes="-1"
    )
    assert sorted(sentence.split(" ", 1)[0] for sentence in found) == [
        "log.levle",
        "nowhere",
        "s3.bukcet",
        "server.port",
        "server.processes",
        "server.prot",
        "uploads.length_max",
    ]


def test_paths_urls_and_networks_are_normalized() -> None:
    """Paths and URLs of the endpoint get a slash at the end; bits after a network's prefix are cleared."""
    server = load(
        None,
        {
            "TUSD_PY_SERVER__BASE_PATH": "/a",
            "TUSD_PY_SERVER__PUBLIC_URL": "https://x.example/a",
            "TUSD_PY_SERVER__TRUSTED_PROXIES": "10.0.0.7, 10.1.2.3/8, ::1",
        },
    ).server
    assert "/a/" == server.base_path
    assert "/" == load(None, {"TUSD_PY_SERVER__BASE_PATH": "/"}).server.base_path
    assert "https://x.example/a/" == server.public_url
    networks = (ip_network("10.0.0.7/32"), ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert networks == server.trusted_proxies
    assert server == ServerSettings.model_validate(server.model_dump()), "normalized values are valid again"


@pytest.mark.parametrize("name", ["password", "sslpassword", "ssl_password"])
def test_passwords_of_urls_are_not_shown(name: str) -> None:
    """Neither that of the user nor that of a client key, wherever the URL has it."""
    url = f"rediss://me:hidden@host/0?db=1&{name}=hidden&ssl_certfile=a.pem"
    assert f"rediss://...@host/0?db=1&{name}=...&ssl_certfile=a.pem" == without_credentials(url)


def test_parameters_of_a_redis_url_are_those_of_the_client() -> None:
    """Each that is accepted here makes a connection there."""
    values = dict.fromkeys(_REDIS_PARAMETERS | _REDIS_TLS_PARAMETERS, "1") | {"ssl_cert_reqs": "none", "protocol": "3"}
    url = f"rediss://a/0?{urlencode(values)}"
    assert url == load(None, {"TUSD_PY_REDIS__URL": url}).redis.url
    connection = ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    assert isinstance(connection, SSLConnection)


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SERVER__PORT", "70000", "it must be a whole number from 0 to 65535"),
        ("SERVER__PORT", "", "it must be a whole number from 0 to 65535"),
        ("SERVER__PROCESSES", "0", "it must be a whole number from 1 to 1000000"),
        ("SERVER__PAGE", "maybe", "it must be true or false"),
        ("SERVER__BASE_PATH", "/a/../b/", "it must be an absolute path"),
        ("SERVER__PUBLIC_URL", "example.com/files", "it must be an absolute URL"),
        ("SERVER__PUBLIC_URL", "https://u:p@example.com/", "it must be an absolute URL"),
        ("HOOKS__ENABLED_EVENTS", "pre-crate", "it must be a list of hooks, each one of authorize, pre-create"),
        ("HOOKS__HTTP_FORWARD_HEADERS", "Cookie,Host", "it must be a list of header names, without those that"),
        ("HOOKS__HTTP_FORWARD_HEADERS", "a b", "it must be a list of header names"),
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
        ("STORAGE__KIND", "tape", 'it must be "disk", "s3" or "memory"'),
        *(
            ("S3__KEY_PATTERN", pattern, "it must be a pattern")
            for pattern in ("{id}", "{owner}/{id}", "a/b", "a/{id}x", "tails/{id}", "a/{id}/{id}", "a/{folders}/{id}")
        ),
        ("S3__KEY_PATTERN", "a/{id}/{owner}/{stem}/{filename}/{extension}", "it must be a pattern of fewer parts"),
        ("S3__KEY_PATTERN", "a/../{id}", "it must be a relative path"),
        *(
            ("PUBLISHING__DIRECTORY", target, "it must be the path of a directory, or a bucket such as")
            for target in ("s3://", "s3://A/b", "s3://bucket//b", "s3://bucket/../b", "s3://bucket/ü")
        ),
        ("S3__COPY_PARTS", "maybe", 'it must be "auto", "yes" or "no"'),
        ("S3__TAGS", "a", "it must be a list of tags"),
        ("S3__TAGS", "a={nothing}", "it must be a list of tags"),
        ("S3__TAGS", "aws:a=b", "it must be a list of tags"),
        ("S3__TAGS", "a=b,a=c", "it must be a list of at most 10 tags"),
        ("S3__CACHE_CONTROL", "a\nb", "it must be text of printable ASCII"),
        ("S3__DOWNLOAD_SECONDS", "604801", "it must be a number of seconds, at most 604800"),
        ("S3__ENCRYPTION", "rot13", 'it must be "AES256", "aws:kms"'),
        ("REDIS__URL", "http://a", "it must be the URL of a Redis server such as"),
        ("REDIS__URL", "redis://a/0?ssl_ca_certs=ca.pem", "it must be the URL of a Redis server such as"),
        ("WORKER__BROKER", "rediss://a/0?sslmode=x", 'it must be "embedded", "redis", or the URL of a Redis server'),
        ("STORAGE__FILE_MODE", "640", "it must be an octal mode"),
        ("UPLOADS__LENGTH_MAX", "10 gigs", "it must be a number of bytes, or a size"),
        ("UPLOADS__LENGTH_MAX", "0.3B", "it must be a whole number of bytes"),
        ("UPLOADS__LENGTH_MAX", "9999999TiB", "it must be a number of bytes, or a size"),
        ("UPLOADS__SAVE_INTERVAL_BYTES", "0", "it must be a size of at least one byte"),
        ("UPLOADS__GONE_STATUS", "403", "it must be 404 or 410"),
        ("UPLOADS__INLINE_TYPES", "png", "it must be a list of media types"),
        ("CORS__ALLOW_ORIGINS", "https://a.example/", "it must be a list of origins"),
        ("CORS__ALLOW_HEADERS", "a b", "it must be a list of header names"),
        ("QUOTAS__TIME_ZONE", "Mars/Olympus", "it must be the name of a time zone such as UTC"),
        ("QUOTAS__TIME_ZONE", "../UTC", "it must be the name of a time zone such as UTC"),
        ("QUOTAS__TIME_ZONE", "Europe", "it must be the name of a time zone such as UTC"),
        ("JWT__JWKS_URL", "ftp://x", "it must be an absolute http or https URL"),
        ("METRICS__PATH", "metrics", "it must be an absolute path"),
        ("LOG__LEVEL", "loud", 'it must be "debug", "info", "warning" or "error"'),
    ],
)
def test_invalid_value(variable: str, value: str, allowed: str) -> None:
    """The sentence has the name, the value, its origin and what is allowed."""
    (problem,) = problems({f"TUSD_PY_{variable}": value})
    name = variable.lower().replace("__", ".")
    assert problem.startswith(f"{name} is "), problem
    assert f"(TUSD_PY_{variable}); {allowed}" in problem, problem


@pytest.mark.parametrize("text", ["port = true", 'port = "x"', "port = 1.5", "keep_alive_seconds = true"])
def test_invalid_value_in_the_file(tmp_path: Path, text: str) -> None:
    """Values of the wrong type in the file are refused; ``true`` is not a number."""
    config = tmp_path / "config.toml"
    config.write_text(f"[server]\n{text}\n")
    (problem,) = problems(config=config)
    assert f"({config}); it must be" in problem


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SERVER__PROT": "1"}, "server.prot (TUSD_PY_SERVER__PROT) is not a setting; did you mean server.port?"),
        ({"SERVR__PORT": "1"}, "servr.port (TUSD_PY_SERVR__PORT) is not a setting; did you mean server.port?"),
        ({"ZZZ": "1"}, "zzz (TUSD_PY_ZZZ) is not a setting; see tusd-py config --default"),
        ({"SERVER": "1"}, "server (TUSD_PY_SERVER) is not a setting; did you mean server?"),
    ],
)
def test_unknown_variable_is_refused(environ: dict[str, str], expected: str) -> None:
    """A variable with our prefix that is not a setting is a mistake; the sentence suggests the nearest name."""
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
def test_malformed_file(tmp_path: Path, text: str, expected: str) -> None:
    """The sentence about a file that is not TOML, or about unknown names in it, contains the path of the file."""
    config = tmp_path / "config.toml"
    config.write_text(text)
    (problem,) = problems(config=config)
    assert expected in problem
    assert str(config) in problem


def test_missing_file(tmp_path: Path) -> None:
    """The sentence about a file that cannot be read contains the reason."""
    (problem,) = problems(config=tmp_path / "none.toml")
    assert problem.endswith("cannot be read: No such file or directory")


def test_password_of_a_database_is_not_shown() -> None:
    """The sentence about an unsupported database contains only the scheme of its URL."""
    (problem,) = problems({"TUSD_PY_RECORDS__URL": "mysql://user:hunter2@db/tus"})
    assert "'mysql'" in problem
    assert "hunter2" not in problem


def test_all_mistakes_are_reported_together() -> None:
    """Three mistakes give three sentences."""
    assert 3 == len(problems({"TUSD_PY_SERVER__PORT": "x", "TUSD_PY_LOG__LEVEL": "x", "TUSD_PY_SERVER__PAGE": "x"}))


def test_path_of_the_database() -> None:
    """Without ``records.url`` the database is in the data directory."""
    here = load(None, {"TUSD_PY_STORAGE__DATA_DIR": "/srv/tus"})
    assert here.database_path == "/srv/tus/tusd.sqlite3"
    elsewhere = load(None, {"TUSD_PY_RECORDS__URL": "sqlite:///db/a.sqlite3"})
    assert elsewhere.database_path == "db/a.sqlite3"
    assert load(None, {"TUSD_PY_RECORDS__URL": "memory"}).database_path is None


def test_password_of_a_hook_url_is_not_shown() -> None:
    """The sentence about an invalid URL does not contain its credentials."""
    (problem,) = problems({"TUSD_PY_HOOKS__HTTP_URLS": "http://me:secret@a..b/x"})
    assert "http://...@a..b/x" in problem and "secret" not in problem


@pytest.mark.parametrize("hook", list(Hook))
def test_every_hook_can_be_enabled(hook: Hook) -> None:
    """Every hook's name is valid in ``hooks.enabled_events``."""
    assert (hook,) == load(None, {"TUSD_PY_HOOKS__ENABLED_EVENTS": hook}).hooks.enabled_events


@pytest.mark.parametrize("host", ["h", "a_b.c", "127.0.0.1:9000", "[::1]:80", "h:", "me:a%3Ab@h.example", "A.B"])
def test_valid_hook_urls(host: str) -> None:
    """Names with underscores as containers have them, addresses, ports and credentials; http and https."""
    urls = f"http://{host}/x?y=1,https://{host}"
    assert tuple(urls.split(",")) == load(None, {"TUSD_PY_HOOKS__HTTP_URLS": urls}).hooks.http_urls


def test_secrets_reach_the_worker_but_not_repr() -> None:
    """``repr`` hides signing keys; the JSON that is passed to the worker process contains everything."""
    secret = "whsec_" + "A" * 32
    endpoint = {"name": "a", "url": "http://u:hush@h/?token=hush", "secrets": [secret]}
    settings = load(None, {"TUSD_PY_WEBHOOKS__ENDPOINTS": json.dumps([endpoint])})
    assert secret not in repr(settings)
    assert settings == Settings.model_validate_json(settings.model_dump_json())


@pytest.mark.parametrize("origin", ["file", "variable", "flag"])
def test_renamed_setting_is_refused_with_its_new_name(tmp_path: Path, origin: str) -> None:
    """``server.workers`` is now ``server.processes``; the sentence names the new spelling for the same source."""
    config = tmp_path / "config.toml"
    config.write_text("[server]\nworkers = 2\n" if origin == "file" else "")
    environ = {"TUSD_PY_SERVER__WORKERS": "2"} if origin == "variable" else {}
    flags = {"server.workers": Sourced("2", "--workers")} if origin == "flag" else {}
    with pytest.raises(SettingsError) as raised:
        load(config, environ, flags)
    expected = {
        "file": f"server.workers ({config}) was renamed to server.processes: use server.processes",
        "variable": "server.workers (TUSD_PY_SERVER__WORKERS) was renamed to server.processes: "
        "use TUSD_PY_SERVER__PROCESSES",
        "flag": "server.workers (--workers) was renamed to server.processes: use --processes",
    }
    assert [expected[origin]] == raised.value.problems


def test_load_or_exit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry point gets the settings, or exits with 2 after one line on standard error for each mistake."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("[server]\nport = 1\n")
    assert 1 == load_or_exit({}).server.port
    with pytest.raises(SystemExit) as raised:
        load_or_exit({"TUSD_PY_SERVER__PAGE": "x", "TUSD_PY_LOG__LEVEL": "x"})
    assert 2 == raised.value.code
    assert 2 == len(re.findall("^tusd-py: ", capsys.readouterr().err, re.M))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_HOST", "10.96.0.7"),
        ("SERVICE_PORT", "8080"),
        ("SERVICE_PORT_HTTP", "8080"),
        ("PORT", "tcp://10.96.0.7:8080"),
        ("PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("PORT_8080_TCP_PROTO", "tcp"),
        ("PORT_8080_TCP_PORT", "8080"),
        ("PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("REDIS_SERVICE_HOST", "10.96.0.8"),
        ("REDIS_PORT", "tcp://10.96.0.8:6379"),
        ("REDIS_PORT_53_UDP", "udp://10.96.0.8:53"),
    ],
)
def test_variables_of_services_are_ignored(name: str, value: str) -> None:
    """Kubernetes adds them to every container of a namespace with a service named ``tusd-py`` or ``tusd-py-redis``."""
    environ = {f"TUSD_PY_{name}": value, "TUSD_PY_SERVER__PORT": "9"}
    assert load(None, environ).server.port == 9
    assert injected(environ) == [f"TUSD_PY_{name}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "8080"), ("SERVER_HOST", "::"), ("SERVICE", "x"), ("PORT_8080", "1"), ("SERVER__SERVICE_HOST", "x")],
)
def test_similar_variables_are_refused(name: str, value: str) -> None:
    """A mistake of the operator is not taken for a variable of Kubernetes."""
    environ = {f"TUSD_PY_{name}": value}
    with pytest.raises(SettingsError, match="is not a setting"):
        load(None, environ)
    assert injected(environ) == []


def test_list_of_tables_beside_an_empty_list_names_the_line_to_remove(tmp_path: Path) -> None:
    """Tables appended to the documented configuration, which has ``endpoints = []``, are answered with what to do."""
    config = tmp_path / "config.toml"
    config.write_text(REFERENCE.read_text() + '[[webhooks.endpoints]]\nname = "a"\nurl = "https://a.example/"\n')
    with pytest.raises(SettingsError) as raised:
        load(config)
    expected = f"the configuration file {config} has both 'endpoints = []' and [[webhooks.endpoints]]: remove the first"
    assert [expected] == raised.value.problems


def test_empty_data_dir_is_refused() -> None:
    """An empty path would be the working directory."""
    with pytest.raises(SettingsError, match=r"storage.data_dir is '' \(V\); it must be the path of a directory"):
        build({"storage.data_dir": Sourced("", "V")})


def test_utc_needs_no_database_of_time_zones() -> None:
    """On a system without tzdata the default starts, and another zone is refused with a sentence that names tzdata."""
    program = (
        "import sys; sys.modules['tzdata'] = None\n"
        "from tusd_py.settings.access import QuotasSettings, zone_of\n"
        "print(zone_of(QuotasSettings().time_zone))\n"
        "try: QuotasSettings(time_zone='Europe/Berlin')\n"
        "except ValueError as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONTZPATH": ""}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("UTC\n")
    assert "(tzdata)" in ran.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '[[webhooks]]\nurl = "http://x"',
            "[[webhooks]] in FILE is not a setting; write [[webhooks.endpoints]]",
        ),
        (
            '[webhooks]\nurl = "http://x"',
            "webhooks.url (FILE) is not a setting; did you mean url within [[",
        ),
        ("[[server]]\nport = 1", "server in FILE must be a table: write [server] above its settings"),
        ('[storage.s3]\nbucket = "b"', "storage.s3 (FILE) is not a setting; did you mean [s3]?"),
        ("[quota]\nenabled = true", "quota (FILE) is not a setting; did you mean quotas?"),
        ("port = 1", "port (FILE) is not a setting; did you mean server.port?"),
        ('bucket = "b"', "bucket (FILE) is not a setting; did you mean s3.bucket"),
    ],
)
def test_misplaced_tables_and_settings_name_the_right_place(tmp_path: Path, text: str, sentence: str) -> None:
    """A list where a table belongs, a section within another, a setting above all sections, a misspelt section."""
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(SettingsError) as error:
        load(config, {})
    assert sentence.replace("FILE", str(config)) in "\n".join(error.value.problems)
