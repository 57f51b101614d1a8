//! What an archive signs: `InRelease`, or `Release` with `Release.gpg`. It names the hashes of a suite's indexes.
//!
//! An [`Unverified`] file is bytes; only [`Unverified::verify`] makes a [`Release`] of it, from nothing but the signed
//! text. `InRelease` is signed in the cleartext framework (RFC 9580, 7): the text is taken out of it here, as OpenPGP
//! says, and given to the verifier apart from its signature, so that no program has another idea of what was signed.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};

use super::{
    control::{ParseControlError, lines, paragraphs},
    key::KeyRing,
    signature::{SignatureError, Verifier},
};
use crate::{
    digest::Digest,
    error::{Explain, Kind},
    package::Packing,
};

/// How far the clocks of an archive and of this machine may be apart: as far as forgotten time zones put them.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// A Release file whose signature was not checked yet.
#[derive(Debug, Clone)]
pub struct Unverified {
    /// What is signed, as the verifier wants it.
    signed: Vec<u8>,
    signature: Vec<u8>,
    text: String,
}

/// What a Release says of a suite. It came from [`Unverified::verify`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// `Origin`: `Debian`.
    pub origin: String,
    /// `Label`: `Debian-Security`.
    pub label: String,
    /// `Suite`: `oldstable`, `stable-updates`.
    pub suite: String,
    /// `Codename`: `bookworm`, `bookworm-updates`.
    pub codename: String,
    /// `Version`: `12.11`; empty where there is none.
    pub version: String,
    /// `Date` of the file.
    pub date: Option<Timestamp>,
    /// `Valid-Until`: after that the file must not be believed, since a newer one must be there.
    pub valid_until: Option<Timestamp>,
    /// `Architectures`, in dpkg's words; `all` among them says that there are indexes for it.
    pub architectures: Vec<String>,
    /// `Components`
    pub components: Vec<String>,
    /// `Acquire-By-Hash`: files can be fetched by their hash, which helps while the mirror is updated.
    pub by_hash: bool,
    /// The fingerprints of the keys that signed.
    pub signed_by: Vec<String>,
    not_automatic: bool,
    but_automatic_upgrades: bool,
    /// `No-Support-for-Architecture-all` of packages: each architecture's index has them too.
    all_included: bool,
    /// Path → hash and size, of the package indexes.
    files: BTreeMap<String, (Digest, u64)>,
}

/// An index that a Release vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// The path below the suite's folder: `main/binary-amd64/Packages.xz`.
    pub path: String,
    /// Its SHA-256.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How it is packed.
    pub packing: Packing,
}

impl IndexFile {
    /// The path below the suite's folder under which the file is available as long as it is not too old, even when a
    /// newer one has taken its name: `main/binary-amd64/by-hash/SHA256/…`.
    pub fn by_hash(&self) -> String {
        let folder = self.path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        format!("{folder}by-hash/SHA256/{}", self.digest.hex())
    }
}

/// A Release that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{release}: {problem}")]
pub struct ReleaseError {
    /// The file: its URL or path.
    pub release: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a Release.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Not a text that is signed in the cleartext framework.
    #[error("expected a signed text, found something else: {0}")]
    NotSigned(&'static str),
    /// No signature counts.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A line is not a field.
    #[error(transparent)]
    Control(#[from] ParseControlError),
    /// A field is missing or of another form.
    #[error("expected {expected} in the field {field}, found `{found}`")]
    Value {
        /// The field.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// `Valid-Until` has passed.
    #[error("it has expired: it was valid until {until}")]
    Expired {
        /// Until when.
        until: Timestamp,
    },
    /// `Date` is yet to come.
    #[error("it is dated {date}, and it is only {now} here")]
    Future {
        /// What the file says.
        date: Timestamp,
        /// What this machine's clock says, to the second.
        now: Timestamp,
    },
    /// The file of another suite.
    #[error("expected the Release of {expected}, found that of {found}")]
    OtherSuite {
        /// The suite that was requested.
        expected: String,
        /// What the file calls itself.
        found: String,
    },
    /// The suite has no such index.
    #[error("expected an index of {component} for {architecture}, found only {found}")]
    NoIndex {
        /// The component.
        component: String,
        /// dpkg's word for the architecture.
        architecture: String,
        /// What there is.
        found: String,
    },
}

impl Explain for ReleaseError {
    fn kind(&self) -> Kind {
        match &self.problem {
            Problem::Signature(e) => e.kind(),
            Problem::NotSigned(_) | Problem::Expired { .. } | Problem::Future { .. } | Problem::OtherSuite { .. } => {
                Kind::Unverified
            }
            Problem::Control(_) | Problem::Value { .. } => Kind::Build,
            Problem::NoIndex { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match &self.problem {
            Problem::Signature(e) => return e.hint(),
            Problem::NotSigned(_) => {
                "a proxy may have answered with a page of its own: try again, or another --mirror".into()
            }
            Problem::Expired { .. } => {
                "the mirror is no longer updated, or this machine's clock is wrong: use another --mirror; for an archive that \
                 will never change, `check-valid-until=no` stands in its line of /etc/apt/sources.list"
                    .into()
            }
            Problem::Future { .. } => {
                "this machine's clock is wrong, or the archive's is: set the clock, or use another --mirror".into()
            }
            Problem::OtherSuite { .. } => "the mirror mixes up its suites: use another --mirror".into(),
            Problem::Control(_) | Problem::Value { .. } => "use another --mirror, or tell the maintainers of this one".into(),
            Problem::NoIndex { .. } => "check the --platform and the components of the apt sources".into(),
        })
    }
}

/// Attaches the name of the file to what is wrong with it.
fn named(name: &str) -> impl FnOnce(Problem) -> ReleaseError {
    let release = name.to_owned();
    |problem| ReleaseError { release, problem }
}

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

impl Unverified {
    /// Takes an `InRelease`, called `name` in errors, apart.
    ///
    /// # Errors
    /// When it is not one text signed in the cleartext framework, with nothing before and after.
    pub fn in_release(bytes: &[u8], name: &str) -> Result<Self, ReleaseError> {
        clear_signed(bytes).map_err(Problem::NotSigned).map_err(named(name))
    }

    /// A `Release`, and the `Release.gpg` beside it.
    ///
    /// # Errors
    /// When the text is not UTF-8.
    pub fn detached(release: Vec<u8>, signature: Vec<u8>, name: &str) -> Result<Self, ReleaseError> {
        let text = String::from_utf8(release.clone()).map_err(|_| Problem::NotSigned("it is not UTF-8"));
        Ok(Self { signed: release, signature, text: text.map_err(named(name))? })
    }

    /// The Release, once one of the keys vouches for it.
    ///
    /// # Errors
    /// When no trusted key's signature matches, when it cannot be checked, or when what is signed is no Release.
    pub fn verify(self, keys: &KeyRing, verifier: &Verifier, name: &str) -> Result<Release, ReleaseError> {
        let signed_by = verifier.verify(&self.signed, &self.signature, keys).map_err(Problem::from);
        let signed_by = signed_by.map_err(named(name))?;
        Ok(Release { signed_by, ..parse(&self.text).map_err(named(name))? })
    }

    /// The Release, unchecked: for a source that its owner calls `trusted=yes`.
    ///
    /// # Errors
    /// When it is not a Release.
    pub fn trust(self, name: &str) -> Result<Release, ReleaseError> {
        parse(&self.text).map_err(named(name))
    }
}

/// Takes a text in the cleartext framework apart (RFC 9580, 7). Only what is signed is read, and there must be nothing
/// else.
fn clear_signed(bytes: &[u8]) -> Result<Unverified, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    // White space at the end of a line is not signed.
    let mut all = text.split('\n').map(|line| line.trim_end_matches([' ', '\t', '\r']));
    if all.next() != Some(BEGIN) {
        return Err("it does not begin with `-----BEGIN PGP SIGNED MESSAGE-----`");
    }
    loop {
        match all.next().ok_or("it has no text")? {
            "" => break,
            line if line.starts_with("Hash: ") => {}
            _ => return Err("it has a header other than Hash"),
        }
    }
    let mut content: Vec<&str> = Vec::new();
    loop {
        let line = all.next().ok_or("it has no signature")?;
        match line.strip_prefix('-') {
            None => content.push(line),
            Some(_) if line == SIGNATURE => break,
            Some(rest) => content.push(rest.strip_prefix(' ').ok_or("a line in it begins with a dash")?),
        }
    }
    let mut signature = format!("{SIGNATURE}\n");
    loop {
        let line = all.next().ok_or("its signature has no end")?;
        let _ = writeln!(signature, "{line}");
        if line == END {
            break;
        }
    }
    if all.any(|line| !line.is_empty()) {
        return Err("something follows its signature");
    }
    // The line end before the signature is not signed.
    let signed = content.join("\r\n").into_bytes();
    Ok(Unverified { signed, signature: signature.into_bytes(), text: content.join("\n") })
}

/// Reads the text of a Release.
fn parse(text: &str) -> Result<Release, Problem> {
    let mut release = Release::default();
    let paragraph = paragraphs(text).next().ok_or_else(|| bad("Codename", "a name", ""))?;
    for item in paragraph.fields() {
        let (name, value) = item?;
        let text = || value.to_owned();
        let words = || value.split_ascii_whitespace().map(str::to_owned).collect();
        match name.to_ascii_lowercase().as_str() {
            "origin" => release.origin = text(),
            "label" => release.label = text(),
            "suite" => release.suite = text(),
            "codename" => release.codename = text(),
            "version" => release.version = text(),
            "date" => release.date = Some(date("Date", value)?),
            "valid-until" => release.valid_until = Some(date("Valid-Until", value)?),
            "architectures" => release.architectures = words(),
            "components" => release.components = words(),
            "acquire-by-hash" => release.by_hash = value == "yes",
            "notautomatic" => release.not_automatic = value == "yes",
            "butautomaticupgrades" => release.but_automatic_upgrades = value == "yes",
            "no-support-for-architecture-all" => {
                release.all_included = value.split_ascii_whitespace().any(|w| w == "Packages");
            }
            "sha256" => release.files = files(value)?,
            _ => {}
        }
    }
    if release.files.is_empty() {
        return Err(bad("SHA256", "the hashes of indexes of packages", ""));
    }
    Ok(release)
}

fn bad(field: &'static str, expected: &'static str, found: &str) -> Problem {
    Problem::Value { field, expected, found: found.chars().take(80).collect() }
}

/// A date as RFC 2822 writes it. Debian's zone is `UTC`, which that document does not know.
fn date(field: &'static str, value: &str) -> Result<Timestamp, Problem> {
    let zoned = value.trim().strip_suffix("UTC").map_or(value.to_owned(), |rest| format!("{rest}GMT"));
    DateTimeParser::new().parse_timestamp(&zoned).map_err(|_| bad(field, "a date", value))
}

/// The package indexes of a list of `hash size path`; there are thousands of other files.
fn files(value: &str) -> Result<BTreeMap<String, (Digest, u64)>, Problem> {
    let mut files = BTreeMap::new();
    for line in lines(value).filter(|line| !line.is_empty()) {
        let malformed = || bad("SHA256", "hash, size and path in each line", line);
        let mut words = line.split_ascii_whitespace();
        let (Some(hash), Some(size), Some(path)) = (words.next(), words.next(), words.next()) else {
            return Err(malformed());
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        if name == "Packages" || name.starts_with("Packages.") {
            let digest = Digest::from_hex(hash).map_err(|_| malformed())?;
            files.insert(path.to_owned(), (digest, size.parse().map_err(|_| malformed())?));
        }
    }
    Ok(files)
}

impl Release {
    /// Whether `name` names this suite: by its code name (`bookworm`), or by what it is now (`stable`).
    pub fn is_called(&self, name: &str) -> bool {
        // Before bullseye, security updates were the folder `updates` of the suite.
        let bare = name.strip_suffix("/updates").unwrap_or(name);
        [name, bare].iter().any(|name| [&self.suite, &self.codename].into_iter().any(|own| own == name))
    }

    /// Whether the suite is one of the distribution (`debian`, `ubuntu`), as far as its origin tells. Other archives
    /// give their suites the same names.
    pub fn is_of(&self, distribution: &str) -> bool {
        self.origin.is_empty() || self.origin.eq_ignore_ascii_case(distribution)
    }

    /// Checks that the file is that of the suite `name`, and that it is still valid at `now`; `None` does not ask.
    ///
    /// # Errors
    /// When it is not; `release` is the file's name in the message.
    pub fn check(&self, name: &str, now: Option<Timestamp>, release: &str) -> Result<(), ReleaseError> {
        let nameless = self.suite.is_empty() && self.codename.is_empty();
        if !nameless && !self.is_called(name) {
            let found = if self.codename.is_empty() { &self.suite } else { &self.codename };
            let problem = Problem::OtherSuite { expected: name.to_owned(), found: found.clone() };
            return Err(named(release)(problem));
        }
        match (self.valid_until, now) {
            (Some(until), Some(now)) if until < now => Err(named(release)(Problem::Expired { until })),
            _ => Ok(()),
        }
    }

    /// Checks that the file was made before `now`, or at least before clocks that differ would say so; `None` does not
    /// ask. What comes after a file of the future would be older than it, and be refused.
    ///
    /// # Errors
    /// When it was not; `release` is the file's name in the message.
    pub fn check_future(&self, now: Option<Timestamp>, release: &str) -> Result<(), ReleaseError> {
        match (self.date, now) {
            (Some(date), Some(now)) if date.duration_since(now) > TOLERANCE => {
                let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
                Err(named(release)(Problem::Future { date, now }))
            }
            _ => Ok(()),
        }
    }

    /// The indexes of a component for an architecture, best packed first within each inner list: all of these lists
    /// have to be read, one file of each. `release` is the file's name in the message.
    ///
    /// # Errors
    /// When there is none.
    pub fn indexes(
        &self,
        component: &str,
        architecture: &str,
        release: &str,
    ) -> Result<Vec<Vec<IndexFile>>, ReleaseError> {
        let own = self.packed(component, architecture);
        if own.is_empty() {
            let problem = Problem::NoIndex {
                component: component.to_owned(),
                architecture: architecture.to_owned(),
                found: format!("{} for {}", self.components.join(", "), self.architectures.join(", ")),
            };
            return Err(named(release)(problem));
        }
        let mut lists = vec![own];
        if !self.all_included && self.architectures.iter().any(|known| known == "all") {
            lists.extend(Some(self.packed(component, "all")).filter(|list| !list.is_empty()));
        }
        Ok(lists)
    }

    fn packed(&self, component: &str, architecture: &str) -> Vec<IndexFile> {
        let packings = [Packing::Xz, Packing::Zstd, Packing::Gzip, Packing::Plain];
        let file = |packing: Packing| {
            let path = format!("{component}/binary-{architecture}/Packages{}", packing.extension());
            let &(digest, size) = self.files.get(&path)?;
            Some(IndexFile { path, digest, size, packing })
        };
        packings.into_iter().filter_map(file).collect()
    }

    /// How apt ranks the suite's packages against those of others (apt_preferences(5)): backports and experimental ones
    /// are not taken for their newer versions.
    pub fn priority(&self) -> i32 {
        match (self.not_automatic, self.but_automatic_upgrades) {
            (true, true) => 100,
            (true, false) => 1,
            (false, _) => 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn text() -> String {
        format!(
            "Origin: Debian\nLabel: Debian\nSuite: oldstable\nVersion: 12.11\nCodename: bookworm\n\
             Date: Sat, 17 May 2025 09:20:01 UTC\nValid-Until: Sat, 24 May 2025 09:20:01 UTC\nAcquire-By-Hash: yes\n\
             No-Support-for-Architecture-all: Packages\nArchitectures: all amd64\nComponents: main contrib\nMD5Sum:\n \
             d41d8cd98f00b204e9800998ecf8427e 0 main/binary-amd64/Packages\nSHA256:\n {ZERO} 12 main/binary-amd64/Packages\n \
             {ZERO}  5 main/binary-amd64/Packages.xz\n {ZERO} 6 main/binary-amd64/Packages.gz\n {ZERO} 7 \
             main/binary-all/Packages.xz\n {ZERO} 9 main/Contents-amd64.gz\n"
        )
    }

    fn in_release(text: &str) -> String {
        format!("{BEGIN}\nHash: SHA256\n\n{text}{SIGNATURE}\n\niQ==\n{END}\n")
    }

    #[test]
    fn reads_a_release() {
        let release = parse(&text()).expect("a release");
        assert_eq!((release.suite.as_str(), release.codename.as_str()), ("oldstable", "bookworm"));
        assert_eq!(release.date.expect("a date").to_string(), "2025-05-17T09:20:01Z");
        assert_eq!(release.architectures, ["all", "amd64"]);
        assert_eq!(release.components, ["main", "contrib"]);
        assert!(release.by_hash);
        let lists = release.indexes("main", "amd64", "x").expect("indexes");
        let names: Vec<Vec<_>> =
            lists.iter().map(|list| list.iter().map(|f| (f.path.as_str(), f.size)).collect()).collect();
        let expected = vec![
            ("main/binary-amd64/Packages.xz", 5),
            ("main/binary-amd64/Packages.gz", 6),
            ("main/binary-amd64/Packages", 12),
        ];
        assert_eq!(names, [expected]);
        assert_eq!(lists[0][0].by_hash(), format!("main/binary-amd64/by-hash/SHA256/{ZERO}"));
        let apart = parse(&text().replace("No-Support-for-Architecture-all: Packages\n", "")).expect("a release");
        assert_eq!(apart.indexes("main", "amd64", "x").expect("indexes").len(), 2);
        let error = release.indexes("main", "s390x", "http://m/InRelease").expect_err("none");
        assert_eq!(
            error.to_string(),
            "http://m/InRelease: expected an index of main for s390x, found only main, contrib for all, amd64"
        );
    }

    #[test]
    fn knows_its_names_and_its_age() {
        let release = parse(&text()).expect("a release");
        for (name, expected) in
            [("bookworm", true), ("oldstable", true), ("bookworm/updates", true), ("stable", false), ("trixie", false)]
        {
            assert_eq!(release.is_called(name), expected, "{name}");
        }
        assert!(release.is_of("debian") && !release.is_of("ubuntu"));
        let at = |text: &str| Some(text.parse::<Timestamp>().expect("a time"));
        assert!(release.check("bookworm", at("2025-05-24T09:20:00Z"), "x").is_ok());
        assert!(release.check("bookworm", None, "x").is_ok());
        let error = release.check("bookworm", at("2025-05-25T00:00:00Z"), "http://m/InRelease").expect_err("expired");
        assert_eq!(error.to_string(), "http://m/InRelease: it has expired: it was valid until 2025-05-24T09:20:01Z");
        assert_eq!(error.kind(), Kind::Unverified);
        assert!(error.hint().is_some_and(|hint| hint.contains("check-valid-until=no")));
        let error = release.check("trixie", None, "x").expect_err("another");
        assert_eq!(error.to_string(), "x: expected the Release of trixie, found that of bookworm");
        assert_eq!(error.kind(), Kind::Unverified);
    }

    #[test]
    fn ranks_as_apt_does() {
        for (lines, priority) in
            [("", 500), ("NotAutomatic: yes\n", 1), ("NotAutomatic: yes\nButAutomaticUpgrades: yes\n", 100)]
        {
            assert_eq!(parse(&format!("{lines}{}", text())).expect("a release").priority(), priority);
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_release() {
        for (from, to, message) in [
            ("17 May", "37 May", "expected a date in the field Date, found `Sat, 37 May 2025 09:20:01 UTC`"),
            ("Suite: ", "Suite ", "line 3: expected `Field: value`, found `Suite oldstable`"),
            (" 12 main", " many main", "expected hash, size and path in each line in the field SHA256, found `"),
            ("SHA256:", "SHA1:", "expected the hashes of indexes of packages in the field SHA256, found ``"),
        ] {
            let error = parse(&text().replace(from, to)).expect_err(to);
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }

    #[test]
    fn takes_the_signed_text_only() {
        let unverified = clear_signed(in_release("A: 1 \t\n- -B: 2\n- - C\n\n").as_bytes()).expect("signed");
        assert_eq!(unverified.signed, b"A: 1\r\n-B: 2\r\n- C\r\n");
        assert_eq!(unverified.text, "A: 1\n-B: 2\n- C\n");
        assert_eq!(unverified.signature, format!("{SIGNATURE}\n\niQ==\n{END}\n").into_bytes());
        let good = in_release("A: 1\n");
        let cases = [
            (String::new(), "it does not begin with"),
            (format!("x\n{good}"), "it does not begin with"),
            (format!("\n{good}"), "it does not begin with"),
            (format!("{good}x"), "something follows its signature"),
            (good.repeat(2), "something follows its signature"),
            (good.replace("Hash: SHA256", "Charset: x"), "it has a header other than Hash"),
            (good.replace("A: 1", "-A: 1"), "a line in it begins with a dash"),
            (good.replace("A: 1", BEGIN), "a line in it begins with a dash"),
            (good.replace(END, ""), "its signature has no end"),
            (good.replace(&good[good.find(SIGNATURE).expect("it")..], ""), "it has no signature"),
            (BEGIN.to_owned(), "it has no text"),
        ];
        for (text, why) in cases {
            let error = Unverified::in_release(text.as_bytes(), "x").expect_err(why);
            assert!(
                error.to_string().starts_with(&format!("x: expected a signed text, found something else: {why}")),
                "{error}"
            );
            assert_eq!(error.kind(), Kind::Unverified);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([A-Za-z-]{0,14}:?[ -~é]{0,20}\n|-----BEGIN PGP SIGNATURE-----\n|\n){0,9}") {
            let _ = clear_signed(format!("{BEGIN}\n\n{text}").as_bytes());
            let _ = parse(&text);
            let _ = parse(&format!("SHA256:\n {text}"));
        }
    }
}
