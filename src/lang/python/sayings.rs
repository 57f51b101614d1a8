//! What uv, pip, setuptools and Python say when an installation fails, and what it means.

use crate::lang::Explanation;

/// Words of a line, and their meaning. The first words that a line contains count.
pub(super) const SAYINGS: &[(&str, Explanation)] = &[
    (
        "pg_config executable not found",
        Explanation::lacks("psycopg2 is compiled with PostgreSQL's library: --dev-package libpq-dev brings it"),
    ),
    (
        "mysql_config: not found",
        Explanation::lacks(
            "mysqlclient is compiled with MariaDB's library: --dev-package mariadb-dev (Alpine) or default-libmysqlclient-dev (Debian) brings it",
        ),
    ),
    // Debian's is a program in Perl, which comes with the recipe's compilers.
    ("Unable to find 'pg_config' file", Explanation::NeedsCompiler),
    ("couldn't run 'pg_config'", Explanation::NeedsCompiler),
    ("Python.h: No such file", Explanation::NeedsCompiler),
    ("gcc' failed", Explanation::NeedsCompiler),
    ("g++' failed", Explanation::NeedsCompiler),
    ("cc' failed", Explanation::NeedsCompiler),
    ("execute 'gcc'", Explanation::NeedsCompiler),
    ("execute 'cc'", Explanation::NeedsCompiler),
    (
        "can't find Rust compiler",
        Explanation::lacks(
            "a package is compiled by Rust: --dev-package cargo brings that; or take a version of it that has a wheel for this Python",
        ),
    ),
    // It comes with the recipe's compilers.
    ("Git executable not found", Explanation::NeedsCompiler),
    (
        "could not read Username",
        Explanation::hint(
            "a Git repository wants a user: a token of yours in a netrc file, given as --secret id=netrc,src=FILE, is used for it",
        ),
    ),
    (
        "collectstatic failed",
        Explanation::hint(
            "the settings may need a variable: give it a default in the settings; or leave the static files out: collectstatic = false in \
             [tool.microbuild] of pyproject.toml",
        ),
    ),
    ("Network connectivity is disabled", Explanation::NotCached),
    ("network was disabled", Explanation::NotCached),
    ("does not match the lock file", Explanation::lock(UV_LOCK)),
    ("needs to be updated, but `--", Explanation::lock(UV_LOCK)),
    ("Hash mismatch for", Explanation::hint(HASHES)),
    ("mode, all requirements must have a hash", Explanation::hint(NO_INDEX)),
    ("Distribution not found at: file:", Explanation::hint(NO_INDEX)),
    (
        "No matching distribution found for uv==",
        Explanation::hint(
            "uv installs what the project depends on, and the index has no wheel of it for this machine: PIP_EXTRA_INDEX_URL names \
             another index",
        ),
    ),
    ("no usable wheels", Explanation::hint(WHEELS)),
    ("no wheels with a matching", Explanation::hint(WHEELS)),
    ("does not satisfy Python", Explanation::hint(OTHER_PYTHON)),
    ("'s Python requirement: `", Explanation::hint(OTHER_PYTHON)),
    (
        "was not found in the package registry",
        Explanation::hint("PIP_INDEX_URL names another index, PIP_EXTRA_INDEX_URL one that is asked first"),
    ),
    (
        "--index-strategy unsafe-best-match",
        Explanation::hint(
            "UV_INDEX_STRATEGY=unsafe-best-match in your environment takes a package from any of the indexes, as pip does",
        ),
    ),
];

const NO_INDEX: &str = "the lock file has a package that comes from no index: publish it to an index; or install by yourself, and \
                        build with --deps copy";

const OTHER_PYTHON: &str = "another --base has another Python: debian:trixie a newer one than debian:bookworm";

const WHEELS: &str = "a package has no wheel for this Python, processor and C library: another version of it may have one, another \
                      --base has another Python and C library; for another processor nothing is compiled, so build on a machine that \
                      has that processor";

const HASHES: &str =
    "the index has other files than the lock file knows: lock again, or use the index that it was locked with";

const UV_LOCK: &str = "bring uv.lock up to date with pyproject.toml: `uv lock` writes it";
