//! Secrets: files and variables that `--secret` gives to a step, and to nothing else.
//!
//! That is the step that fetches dependencies: `install`, or `compile` of recipes that have no other; and the command of `microbuild
//! dev`. A secret that names its steps goes to these only. It reaches the step as the file `/run/secrets/ID`, and as the variable `ID` too when it came from one. It is
//! never written into the store. [`Needles`] keeps its bytes out of what is shown, and finds them where they must not be.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
};

use memchr::memmem;

use crate::{
    error::{Explain, Kind},
    host::Host,
    near::nearest,
    recipe::Recipe,
    values::ValueError,
};

/// The shortest secret that is searched for and blotted out, in bytes: shorter ones occur anywhere by chance.
const SHORTEST: usize = 6;

/// What `--secret step=NAME` calls the command of `microbuild dev`.
pub const DEV: &str = "dev";

/// Where a secret comes from: `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`, as `docker build --secret` has it; and, with `step=NAME`
/// once or several times, which steps get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSource {
    /// Its name in the step: letters, digits, `_`, `-` and `.`.
    pub id: String,
    /// Where it comes from.
    pub from: SecretFrom,
    /// The steps that get it; when there are none, the steps that install dependencies and `dev`.
    pub steps: Vec<String>,
}

/// The file or variable of this machine that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFrom {
    /// A file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

impl FromStr for SecretSource {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new("id=NAME,src=FILE or id=NAME,env=VARIABLE, and step=NAME", text);
        let (mut id, mut from, mut steps) = (None, None, Vec::new());
        for part in text.split(',') {
            let (key, value) = part.split_once('=').filter(|(_, value)| !value.is_empty()).ok_or_else(error)?;
            let twice = match key {
                "id" => id.replace(value).is_some(),
                "src" | "source" => from.replace(SecretFrom::File(value.into())).is_some(),
                "env" => from.replace(SecretFrom::Variable(value.to_owned())).is_some(),
                "type" if matches!(value, "file" | "env") => false,
                "step" => {
                    if !is_id(value) {
                        return Err(error());
                    }
                    let twice = steps.iter().any(|step| step == value);
                    steps.push(value.to_owned());
                    twice
                }
                _ => true,
            };
            if twice {
                return Err(error());
            }
        }
        let id = id.filter(|id| is_id(id)).ok_or_else(error)?.to_owned();
        // As with docker: an id alone names the variable of that name.
        Ok(Self { from: from.unwrap_or_else(|| SecretFrom::Variable(id.clone())), id, steps })
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            SecretFrom::File(path) => write!(f, "id={},src={}", self.id, path.display())?,
            SecretFrom::Variable(name) => write!(f, "id={},env={name}", self.id)?,
        }
        self.steps.iter().try_for_each(|step| write!(f, ",step={step}"))
    }
}

/// It becomes the name of a file.
fn is_id(id: &str) -> bool {
    !id.starts_with('.') && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Why a secret cannot be used, or was found where it must not be.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret {id} from {}: {source}", path.display())]
    File {
        /// The secret.
        id: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The variable is not set.
    #[error("the variable {variable}, which holds the secret {id}, is unset or empty")]
    Variable {
        /// The secret.
        id: String,
        /// Its variable.
        variable: String,
    },
    /// It cannot have that name.
    #[error("a secret cannot have the id {id}: {why}")]
    Id {
        /// The id.
        id: String,
        /// Why not.
        why: &'static str,
    },
    /// It names a step that the recipe has not.
    #[error("recipe {recipe} has no step {step}, which the secret {id} is for")]
    Step {
        /// The secret.
        id: String,
        /// The step.
        step: String,
        /// The recipe.
        recipe: String,
        /// The recipe's step whose name is nearest.
        near: String,
    },
    /// Its bytes are in something that would become part of the image.
    #[error("the secret {id} is in {place}, which would become part of the image")]
    Leaked {
        /// The secret.
        id: String,
        /// Where it was found.
        place: String,
    },
}

impl Explain for SecretError {
    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Variable { .. } | Self::Id { .. } | Self::Step { .. } => Kind::Usage,
            Self::Leaked { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { .. } => Some("--secret id=NAME,src=FILE names a file that you may read".into()),
            Self::Variable { .. } => Some("set it, or name another: --secret id=NAME,env=VARIABLE".into()),
            Self::Id { .. } => Some("--secret id=NAME,… names it; the step finds it as /run/secrets/NAME".into()),
            Self::Step { near, .. } => Some(format!("did you mean step={near}?")),
            Self::Leaked { .. } => Some(
                "no layer was kept; exclude the file (--exclude), or stop the package's script from writing the secret there"
                    .into(),
            ),
        }
    }
}

/// A secret that has been read. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// What the step knows it by.
    pub id: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it is a variable in the step too.
    pub variable: bool,
    /// The steps that get it; when there are none, the steps that install dependencies and `dev`.
    pub steps: Vec<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, {} bytes)", self.id, self.bytes.len())
    }
}

impl SecretSource {
    /// Reads the secret; `variable` gives the environment's.
    ///
    /// # Errors
    /// When there is none at its place.
    pub fn read(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        let (id, steps) = (self.id.clone(), self.steps.clone());
        match &self.from {
            SecretFrom::File(path) => match fs::read(path) {
                Ok(bytes) => Ok(Secret { id, bytes, variable: false, steps }),
                Err(source) => Err(SecretError::File { id, path: path.clone(), source }),
            },
            SecretFrom::Variable(name) => match variable(name).filter(|value| !value.is_empty()) {
                Some(value) => Ok(Secret { id, bytes: value.into_bytes(), variable: true, steps }),
                None => Err(SecretError::Variable { id, variable: name.clone() }),
            },
        }
    }
}

/// Secrets that have been read.
#[derive(Default)]
pub struct Secrets {
    /// The secrets.
    pub list: Vec<Secret>,
    /// Their bytes, to be looked for.
    pub needles: Needles,
}

impl Secrets {
    /// Reads the secrets at `sources`, variables from `host`.
    ///
    /// # Errors
    /// The first that is not there.
    pub fn read(sources: &[SecretSource], host: &Host) -> Result<Self, SecretError> {
        let read = sources.iter().map(|source| source.read(|name| host.variable(name)));
        let list = read.collect::<Result<Vec<_>, _>>()?;
        for (at, secret) in list.iter().enumerate() {
            if list[..at].iter().any(|other| other.id == secret.id) {
                return Err(SecretError::Id { id: secret.id.clone(), why: "another secret has it" });
            }
            if secret.variable && ["PATH", "HOME", "LANG"].contains(&secret.id.as_str()) {
                return Err(SecretError::Id { id: secret.id.clone(), why: "that variable has a meaning of its own" });
            }
        }
        Ok(Self { needles: Needles::new(&list), list })
    }

    /// The secrets that the step `name` of a build with `recipe` gets: those that name it; and those that name no step, if it
    /// installs dependencies, is the command of `microbuild dev`, or if no step of the recipe installs any.
    pub fn of(&self, name: &str, recipe: &Recipe) -> Vec<Secret> {
        let mut installing = recipe.steps.iter().filter(|step| step.installs).peekable();
        let usual = name == DEV || installing.peek().is_none() || installing.any(|step| step.name == name);
        let is_given =
            |secret: &&Secret| secret.steps.iter().any(|step| step == name) || (secret.steps.is_empty() && usual);
        self.list.iter().filter(is_given).cloned().collect()
    }
}

/// A warning for each of the secrets at `sources` that no step of a build with `recipe` gets, although it names one.
///
/// # Errors
/// When the name of a step is nearly that of one of the recipe's.
pub fn check_steps(sources: &[SecretSource], recipe: &Recipe) -> Result<Vec<String>, SecretError> {
    let known: Vec<&str> = recipe.steps.iter().map(|step| step.name.as_str()).chain([DEV]).collect();
    let is_known = |step: &&String| known.contains(&step.as_str());
    let mut warnings = Vec::new();
    for secret in sources {
        for step in secret.steps.iter().filter(|step| !is_known(step)) {
            if let Some(near) = nearest(step, known.iter().copied()) {
                let (id, step, near) = (secret.id.clone(), step.clone(), near.to_owned());
                return Err(SecretError::Step { id, step, recipe: recipe.name.clone(), near });
            }
        }
        if !secret.steps.is_empty() && !secret.steps.iter().any(|step| is_known(&step)) {
            let names = secret.steps.join(" or ");
            warnings.push(format!("no step gets the secret {}: recipe {} has no step {names}", secret.id, recipe.name));
        }
    }
    Ok(warnings)
}

impl Secrets {
    /// Watches for `variables` too, which a step is given by a recipe's `pass`, as far as their names or values say that they
    /// are secret: a name with token, key, auth, password or the like in it, and the password of a URL.
    #[must_use]
    pub fn watching(mut self, variables: &BTreeMap<String, String>) -> Self {
        let secrets = variables.iter().filter_map(|(name, value)| {
            let whole = says_secret(name).then_some(value.as_str());
            let bytes = whole.or_else(|| url_password(value))?.as_bytes().to_vec();
            Some(Secret { id: name.clone(), bytes, variable: true, steps: Vec::new() })
        });
        let all: Vec<Secret> = self.list.iter().cloned().chain(secrets).collect();
        self.needles = Needles::new(&all);
        self
    }
}

/// Words of which one in a name says that the value is a secret.
const SAYING: [&str; 6] = ["pass", "token", "auth", "secret", "key", "pwd"];

fn says_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SAYING.iter().any(|word| lower.contains(word))
}

/// The password in `scheme://user:password@host/…`.
fn url_password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (user, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

/// Bytes that must not be shown or kept: each secret as a whole, and the values of its lines (`//host/:_authToken=VALUE`).
#[derive(Clone, Default)]
pub struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    /// The needles of `secrets`.
    pub fn new(secrets: &[Secret]) -> Self {
        let mut needles: Vec<(String, Vec<u8>)> = Vec::new();
        for secret in secrets {
            let whole = secret.bytes.trim_ascii();
            let lines = whole.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| is_telling(line));
            let all = std::iter::once(whole).chain(lines).chain(tokens(whole));
            let long = all.filter(|needle| needle.len() >= SHORTEST);
            needles.extend(long.map(|needle| (secret.id.clone(), needle.to_vec())));
        }
        // The longest first: one secret may be the beginning of another.
        needles.sort_by_key(|(_, needle)| std::cmp::Reverse(needle.len()));
        needles.dedup_by(|a, b| a.1 == b.1);
        Self(needles)
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret whose bytes are in `haystack`.
    pub fn find(&self, haystack: &[u8]) -> Option<&str> {
        let found = self.0.iter().find(|(_, needle)| memmem::find(haystack, needle).is_some());
        found.map(|(id, _)| id.as_str())
    }

    /// `line` with stars in place of every secret.
    pub fn redact(&self, line: &str) -> String {
        let texts = self.0.iter().filter_map(|(_, needle)| std::str::from_utf8(needle).ok());
        texts.fold(line.to_owned(), |line, needle| line.replace(needle, "***"))
    }

    fn longest(&self) -> usize {
        self.0.iter().map(|(_, needle)| needle.len()).max().unwrap_or(0)
    }
}

/// The words of a file (`.npmrc`, `.netrc`, JSON, `KEY=value`) that are the secret part of it: what follows a word that says so,
/// and what looks like nothing that a person would write.
fn tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = text.split(|b| b.is_ascii_whitespace() || b"\"',;=:{}[]".contains(b));
    let mut says = false;
    parts.filter(|part| !part.is_empty()).filter(move |part| {
        let lower = part.to_ascii_lowercase();
        let follows =
            std::mem::replace(&mut says, SAYING.iter().any(|word| memmem::find(&lower, word.as_bytes()).is_some()));
        // `auth-type = legacy` is no secret.
        let is_plain = part.len() < 8 && part.iter().all(u8::is_ascii_lowercase);
        (follows && !is_plain) || is_random(part)
    })
}

/// Whether a word is long, and has letters and digits, and is no name of a host or file.
fn is_random(word: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| word.iter().any(test);
    let is_path = word.contains(&b'/') || (word.contains(&b'.') && !has(u8::is_ascii_uppercase));
    word.len() >= 16 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && !is_path
}

/// Whether a whole line could be a secret: long, without spaces, and no plain address.
fn is_telling(text: &[u8]) -> bool {
    let is_plain_address = memmem::find(text, b"://").is_some() && !text.contains(&b'@');
    text.len() >= 16 && !text.contains(&b' ') && !is_plain_address
}

/// A sink that fails as soon as a secret's bytes are written into it, however they are cut into pieces.
pub struct Watch<'a> {
    needles: &'a Needles,
    /// The end of what was written so far, in case a secret begins there.
    tail: Vec<u8>,
    /// The secret that was found.
    pub found: Option<String>,
}

impl<'a> Watch<'a> {
    /// A sink that looks for `needles`.
    pub fn new(needles: &'a Needles) -> Self {
        Self { needles, tail: Vec::new(), found: None }
    }
}

impl Write for Watch<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tail.extend_from_slice(bytes);
        if let Some(id) = self.needles.find(&self.tail) {
            self.found = Some(id.to_owned());
            return Err(io::Error::other("a secret"));
        }
        let keep = self.needles.longest().saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_variables_that_are_secret_are_watched_for() {
        let passed = [
            ("NPM_CONFIG_REGISTRY", "https://me:sesame-pass@npm.example/"),
            ("YARN_NPM_AUTH_TOKEN", "sesame-token"),
            ("GOPROXY", "https://proxy.example/direct"),
            ("PIP_INDEX_URL", "https://user@pypi.example/a:b@c"),
        ];
        let passed = passed.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let secrets = Secrets::default().watching(&passed);
        assert_eq!(secrets.needles.find(b"..sesame-pass.."), Some("NPM_CONFIG_REGISTRY"));
        assert_eq!(secrets.needles.find(b"..sesame-token.."), Some("YARN_NPM_AUTH_TOKEN"));
        assert_eq!(secrets.needles.redact("at https://me:sesame-pass@npm.example"), "at https://me:***@npm.example");
        for harmless in ["https://npm.example/", "https://proxy.example/direct", "pypi.example", "user"] {
            assert_eq!(secrets.needles.find(harmless.as_bytes()), None, "{harmless}");
        }
        assert!(secrets.list.is_empty(), "no step is given more than before");
    }

    #[test]
    fn sources_are_read_as_docker_has_them() {
        for (text, expected) in [
            ("id=npmrc,src=.npmrc", Some("id=npmrc,src=.npmrc")),
            ("id=a.b-c_D,source=/x/y", Some("id=a.b-c_D,src=/x/y")),
            ("type=env,id=TOKEN,env=CI_TOKEN", Some("id=TOKEN,env=CI_TOKEN")),
            ("id=TOKEN", Some("id=TOKEN,env=TOKEN")),
            ("src=x", None),
            ("id=../x,src=y", None),
            ("id=.x,src=y", None),
            ("id=a,id=b,src=y", None),
            ("id=a,src=x,env=Y", None),
            ("id=a,mode=0400", None),
            ("id=,src=x", None),
            ("id=a,src=x,step=install,step=dev", Some("id=a,src=x,step=install,step=dev")),
            ("step=compile,id=a", Some("id=a,env=a,step=compile")),
            ("id=a,step=dev,step=dev", None),
            ("id=a,step=", None),
            ("id=a,step=../run", None),
            ("", None),
        ] {
            let found = text.parse::<SecretSource>().ok().map(|source| source.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    fn secret(bytes: &[u8]) -> Secret {
        Secret { id: "s".into(), bytes: bytes.to_vec(), variable: false, steps: Vec::new() }
    }

    #[test]
    fn a_step_knows_what_is_meant_for_it() {
        use crate::recipe::RecipeSearch;
        let given = [&[][..], &["install"], &["compile", "dev"], &["dev"]];
        let list: Vec<_> = (0_u8..)
            .zip(given)
            .map(|(n, steps)| {
                let steps = steps.iter().map(|step| (*step).to_owned()).collect();
                Secret { id: n.to_string(), steps, ..secret(b"long enough") }
            })
            .collect();
        let secrets = Secrets { list, ..Secrets::default() };
        let of = |recipe: &str, step| {
            let recipe = RecipeSearch::default().find(recipe).expect("built in");
            secrets.of(step, &recipe).into_iter().map(|secret| secret.id).collect::<String>()
        };
        for (recipe, install, compile) in [("node", "01", "2"), ("go", "01", "02"), ("static", "01", "02")] {
            let found = ["install", "compile", "dev"].map(|step| of(recipe, step));
            assert_eq!(found, [install, compile, "023"], "{recipe}");
        }
        let idle = |recipe: &str, steps: &[&str]| {
            let steps = steps.iter().map(|step| (*step).to_owned()).collect();
            let source = SecretSource { id: "s".into(), from: SecretFrom::Variable("S".into()), steps };
            let recipe = RecipeSearch::default().find(recipe).expect("built in");
            check_steps(&[source], &recipe).map_err(|error| error.to_string())
        };
        assert_eq!(idle("node", &["install"]), Ok(vec![]));
        assert_eq!(idle("node", &["compile", "dev"]), Ok(vec![]), "microbuild dev gets it");
        assert_eq!(
            idle("node", &["compile"]),
            Ok(vec!["no step gets the secret s: recipe node has no step compile".into()])
        );
        assert_eq!(idle("go", &["compil"]), Err("recipe go has no step compil, which the secret s is for".into()));
    }

    #[test]
    fn a_secret_is_found_however_it_is_cut() {
        let needles = Needles::new(&[secret(b"hush-hush\n")]);
        let text = b"xxxxxhush-hushyyy";
        for cut in 1..text.len() {
            let mut watch = Watch::new(&needles);
            let written = text.chunks(cut).try_for_each(|chunk| watch.write_all(chunk));
            assert!(written.is_err(), "{cut}");
            assert_eq!(watch.found.as_deref(), Some("s"));
        }
        let mut watch = Watch::new(&needles);
        watch.write_all(b"hush-hus h").expect("no secret");
        assert_eq!(needles.redact("a hush-hush b hush-hush"), "a *** b ***");
    }

    #[test]
    fn what_is_secret_in_a_file_is_found() {
        for (file, secret) in [
            (&b"{\"user\": \"me\", \"token\": \"SuperSecretToken\", \"x\": 1}"[..], &b"SuperSecretToken"[..]),
            (b"machine registry.example.org login me password hunter-two\n", b"hunter-two"),
            (b"//registry.example.org/:_password=c2VjcmV0\n", b"c2VjcmV0"),
            (b"npm_0123456789abcdefAB\n# a comment", b"npm_0123456789abcdefAB"),
        ] {
            let needles = Needles::new(&[self::secret(file)]);
            assert!(needles.find(secret).is_some(), "{}", String::from_utf8_lossy(secret));
            for harmless in [&b"registry.example.org"[..], b"machine", b"login me"] {
                assert!(needles.find(harmless).is_none(), "{}", String::from_utf8_lossy(harmless));
            }
        }
        let two = Needles::new(&[secret(b"abcdefgh"), secret(b"abcdefghIJKLMNOP")]);
        assert_eq!(two.redact("a abcdefghIJKLMNOP b abcdefgh c"), "a *** b *** c");
    }

    #[test]
    fn the_values_of_a_files_lines_are_secrets_too() {
        let file = b"registry=https://registry.example.org/\n//registry.example.org/:_authToken=abcdef-0123456\nfund = false\n";
        let needles = Needles::new(&[secret(file)]);
        assert!(needles.find(b"x abcdef-0123456 y").is_some());
        assert!(needles.find(file).is_some());
        for harmless in [&b"https://registry.example.org/"[..], b"fund = false", b"false"] {
            assert!(needles.find(harmless).is_none(), "{}", String::from_utf8_lossy(harmless));
        }
        assert!(Needles::new(&[secret(b"abc")]).is_empty(), "too short to be looked for");
        assert_eq!(format!("{:?}", secret(b"abc")), "Secret(s, 3 bytes)");
    }
}
