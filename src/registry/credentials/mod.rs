//! Credentials for registries, where Docker and Podman keep them: `config.json`, `auth.json`, and the helpers that
//! these name (`docker-credential-NAME`, protocol of docker-credential-helpers).

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

mod config;

use crate::{
    error::{Explain, Kind},
    programs,
};
use config::{Config, Entry, json_error, key, place_of};

/// The user name under which helpers keep an identity token.
const TOKEN_USER: &str = "<token>";

/// What identifies the user to a registry or its token server.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Password {
        /// The user.
        username: String,
        /// The password, or an access token in its place.
        password: String,
    },
    /// A refresh token, with which a token server gives access tokens (`identitytoken`).
    IdentityToken(String),
    /// A bearer token to be sent as it is (`registrytoken`).
    RegistryToken(String),
}

impl Credentials {
    /// User name and password; the user `<token>` says that the password is an identity token.
    pub fn password(username: &str, password: &str) -> Self {
        if username == TOKEN_USER {
            return Self::IdentityToken(password.to_owned());
        }
        Self::Password { username: username.to_owned(), password: password.to_owned() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// What a [`CredentialStore`] knows of a registry.
#[derive(Debug, Clone, Default)]
pub struct Lookup {
    /// The credentials, and where they were found, in words.
    pub credentials: Option<(Credentials, String)>,
    /// What could not be asked, in words: a file that may not be read, a helper that is not installed.
    pub notes: Vec<String>,
}

impl Lookup {
    pub(super) fn given(credentials: Option<Credentials>) -> Self {
        Self { credentials: credentials.map(|c| (c, "the caller".to_owned())), notes: Vec::new() }
    }
}

/// Where credentials were stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// In this file, readable by its owner only, but not encrypted.
    File(PathBuf),
    /// In this helper.
    Helper(String),
}

/// What can go wrong with stored credentials. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A configuration file is not what Docker and Podman write.
    #[error("cannot read the credentials in {}: {why}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no place to store them.
    #[error("no place to store credentials: expected DOCKER_CONFIG or HOME in the environment, found neither")]
    NoHome,
    /// The helper that the configuration names for this registry is not there.
    #[error("{} names the credential helper {program}, which is not on PATH", path.display())]
    NoHelper {
        /// `docker-credential-NAME`.
        program: String,
        /// The file that names it.
        path: PathBuf,
    },
    /// A helper failed.
    #[error("the credential helper {program} failed: {why}")]
    Helper {
        /// `docker-credential-NAME`.
        program: String,
        /// How.
        why: String,
    },
    /// A file cannot be made or changed.
    #[error("cannot store credentials in {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for CredentialsError {
    fn kind(&self) -> Kind {
        match self {
            Self::Config { .. } | Self::NoHome | Self::NoHelper { .. } => Kind::Usage,
            Self::Helper { .. } | Self::Io { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Config { path, .. } => Some(format!("repair {} or move it away", path.display())),
            Self::NoHelper { program, path } => {
                Some(format!("install {program}, or take it out of credHelpers and credsStore in {}", path.display()))
            }
            Self::NoHome | Self::Io { .. } => Some("DOCKER_CONFIG names a folder that you may write to".into()),
            Self::Helper { .. } => None,
        }
    }
}

/// Docker's variable for credentials (docker/cli#6008): what stands in `config.json`, as text.
const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// The files and helpers in which this user's credentials are. Nothing is read before it is asked for.
#[derive(Debug, Clone, Default)]
pub struct CredentialStore(Arc<Places>);

#[derive(Default)]
struct Places {
    /// Read in this order.
    sources: Vec<Source>,
    /// Where a login is stored.
    written: Option<PathBuf>,
    /// Where helpers are searched.
    path: OsString,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("written", &self.written).finish_non_exhaustive()
    }
}

/// One place to look in.
enum Source {
    File(PathBuf),
    /// The text of [`VARIABLE`].
    Variable(OsString),
}

impl CredentialStore {
    /// The store of the user whose environment `var` gives ([`Host::variable_os`](crate::host::Host::variable_os)):
    /// REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG, then Docker's `config.json` in DOCKER_CONFIG or `~/.docker`, then Podman's `auth.json` in
    /// XDG_RUNTIME_DIR and XDG_CONFIG_HOME.
    ///
    /// The variable comes before the file, as in Docker 28. Not so in GitLab's CI, whose runner pulls the job's image
    /// with what stands in it: a login of the job is meant for the job, and comes first (docker/cli#6156).
    pub fn from_env(var: impl Fn(&str) -> Option<OsString>) -> Self {
        let given = |name: &str| var(name).filter(|value| !value.is_empty());
        let folder = |name: &str| given(name).map(PathBuf::from);
        let home = folder("HOME").or_else(|| folder("USERPROFILE"));
        let explicit = folder("REGISTRY_AUTH_FILE");
        let docker = folder("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
        let docker = docker.map(|folder| folder.join("config.json"));
        let runtime = folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
        let config = folder("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let config = config.map(|folder| folder.join("containers/auth.json"));
        let written = explicit.clone().or_else(|| docker.clone());
        let mut sources: Vec<Source> = [docker, runtime, config].into_iter().flatten().map(Source::File).collect();
        if let Some(text) = given(VARIABLE) {
            let place = if given("GITLAB_CI").is_some() { sources.len() } else { 0 };
            sources.insert(place, Source::Variable(text));
        }
        sources.splice(..0, explicit.map(Source::File));
        Self(Arc::new(Places { sources, written, path: var("PATH").unwrap_or_default() }))
    }

    /// A store without any credentials.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The credentials for `repository` of `registry` (or for the registry as such): of the first file that has some,
    /// or whose helper has. In a file, what is kept for the repository counts before what is kept for a namespace above
    /// it, and that before what is kept for the whole registry.
    ///
    /// A helper that has none is a miss, and so is one that is meant for all registries (`credsStore`) and not
    /// installed, as in a `config.json` copied from a desktop: that is noted. So is all that is wrong with
    /// DOCKER_AUTH_CONFIG, as in Docker.
    ///
    /// # Errors
    /// When a file cannot be understood, a helper fails, or one that is meant for this registry is not installed.
    pub fn lookup(&self, registry: &str, repository: Option<&str>) -> Result<Lookup, CredentialsError> {
        let mut lookup = Lookup::default();
        let places = config::places(registry, repository);
        for source in &self.0.sources {
            let found = match source {
                Source::File(path) => self.look_into_file(path, &places, &mut lookup.notes)?,
                Source::Variable(text) => {
                    let path = Path::new(VARIABLE);
                    let config = parse(path, text.as_encoded_bytes());
                    let found = config.and_then(|config| self.look_into(&config, path, &places, &mut lookup.notes));
                    found.unwrap_or_else(|error| {
                        lookup.notes.push(error.to_string());
                        None
                    })
                }
            };
            if found.is_some() {
                return Ok(Lookup { credentials: found, ..lookup });
            }
        }
        Ok(lookup)
    }

    fn look_into_file(
        &self,
        path: &Path,
        places: &[String],
        notes: &mut Vec<String>,
    ) -> Result<Option<(Credentials, String)>, CredentialsError> {
        match fs::read(path) {
            Ok(bytes) => self.look_into(&parse(path, &bytes)?, path, places, notes),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => {
                notes.push(format!("{} cannot be read ({e})", path.display()));
                Ok(None)
            }
        }
    }

    /// The credentials that `config`, which stands in `path`, has for the first of `places`; and where, in words.
    fn look_into(
        &self,
        config: &Config,
        path: &Path,
        places: &[String],
        notes: &mut Vec<String>,
    ) -> Result<Option<(Credentials, String)>, CredentialsError> {
        for place in places {
            if let Some((helper, own)) = config.helper(place) {
                match self.get(helper, path, place) {
                    Ok(Some(found)) => return Ok(Some((found, format!("docker-credential-{helper}")))),
                    Ok(None) => {}
                    Err(missing @ CredentialsError::NoHelper { .. }) if !own => notes.push(missing.to_string()),
                    Err(error) => return Err(error),
                }
            }
            let entry = config.entry(place).map_or(Ok(None), Entry::credentials);
            if let Some(found) = entry.map_err(|why| bad(path, &format!("the entry of {place}: {why}")))? {
                let whole = !place.contains('/');
                let of = if whole { String::new() } else { format!(", for {place}") };
                return Ok(Some((found, format!("{}{of}", path.display()))));
            }
        }
        Ok(None)
    }

    /// Whether DOCKER_AUTH_CONFIG has credentials for `registry`, which come before a login's.
    pub fn is_overruled(&self, registry: &str) -> bool {
        let first = self.0.sources.iter().take_while(|source| match source {
            Source::File(path) => Some(path) != self.0.written.as_ref(),
            Source::Variable(_) => true,
        });
        let texts = first.filter_map(|source| match source {
            Source::Variable(text) => Some(text.as_encoded_bytes()),
            Source::File(_) => None,
        });
        texts.filter_map(|text| Config::parse(text).ok()).any(|config| config.entry(registry).is_some())
    }

    /// Keeps the credentials of `registry`: in the helper that the file names, else in the file, which keeps everything
    /// else that is in it and which only its owner may read.
    ///
    /// # Errors
    /// When there is no place for them, or it cannot be written.
    pub fn store(&self, registry: &str, credentials: &Credentials) -> Result<Stored, CredentialsError> {
        let path = self.0.written.as_ref().ok_or(CredentialsError::NoHome)?;
        let mut document = read_document(path)?;
        let config = parse(path, document.to_string().as_bytes())?;
        if let Some((helper, _)) = config.helper(registry) {
            let (username, secret) = match credentials {
                Credentials::Password { username, password } => (username.as_str(), password),
                Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => (TOKEN_USER, token),
            };
            let input = json!({ "ServerURL": key(registry), "Username": username, "Secret": secret }).to_string();
            self.run(helper, path, "store", &input)?.map_err(|why| failed(helper, &why))?;
            return Ok(Stored::Helper(format!("docker-credential-{helper}")));
        }
        let entry = match credentials {
            Credentials::Password { username, password } => {
                json!({ "auth": STANDARD.encode(format!("{username}:{password}")) })
            }
            Credentials::IdentityToken(token) => json!({ "identitytoken": token }),
            Credentials::RegistryToken(token) => json!({ "registrytoken": token }),
        };
        let auths = auths_of(&mut document, path)?;
        auths.retain(|other, _| place_of(other) != registry);
        auths.insert(key(registry).to_owned(), entry);
        write_document(path, &document)?;
        Ok(Stored::File(path.clone()))
    }

    /// Forgets the credentials of `registry` in all files and helpers; whether there were any.
    ///
    /// # Errors
    /// When a file cannot be read or written, or a helper fails.
    pub fn erase(&self, registry: &str) -> Result<bool, CredentialsError> {
        let mut erased = false;
        for source in &self.0.sources {
            let Source::File(path) = source else { continue };
            if !path.exists() {
                continue;
            }
            let mut document = read_document(path)?;
            let config = parse(path, document.to_string().as_bytes())?;
            if let Some((helper, own)) = config.helper(registry) {
                match self.get(helper, path, registry) {
                    Ok(Some(_)) => {
                        self.run(helper, path, "erase", key(registry))?.map_err(|why| failed(helper, &why))?;
                        erased = true;
                    }
                    Ok(None) => {}
                    Err(CredentialsError::NoHelper { .. }) if !own => {}
                    Err(error) => return Err(error),
                }
            }
            if config.entry(registry).is_some() {
                auths_of(&mut document, path)?.retain(|key, _| place_of(key) != registry);
                write_document(path, &document)?;
                erased = true;
            }
        }
        Ok(erased)
    }

    fn get(&self, helper: &str, path: &Path, place: &str) -> Result<Option<Credentials>, CredentialsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            #[serde(default)]
            username: String,
            #[serde(default)]
            secret: String,
        }
        match self.run(helper, path, "get", key(place))? {
            Ok(answer) => {
                let answer: Answer = serde_json::from_slice(&answer)
                    .map_err(|_| failed(helper, "expected JSON with Username and Secret, found something else"))?;
                let there = !answer.secret.is_empty();
                Ok(there.then(|| Credentials::password(&answer.username, &answer.secret)))
            }
            // The words of docker-credential-helpers' `errCredentialsNotFound`, which all helpers repeat.
            Err(why) if why.to_lowercase().contains("credentials not found") => Ok(None),
            Err(why) => Err(failed(helper, &why)),
        }
    }

    /// Runs a helper: what it printed, or what it said of its failure.
    fn run(
        &self,
        helper: &str,
        path: &Path,
        action: &str,
        input: &str,
    ) -> Result<Result<Vec<u8>, String>, CredentialsError> {
        let program = format!("docker-credential-{helper}");
        if helper.contains(['/', '\\']) {
            return Err(bad(path, &format!("`{helper}` is not the name of a credential helper")));
        }
        let found = programs::find(&program, &self.0.path);
        let found = found.ok_or_else(|| CredentialsError::NoHelper { program, path: path.to_owned() })?;
        let spawned = Command::new(found)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("PATH", programs::safe_path(&self.0.path))
            .spawn();
        let mut child = spawned.map_err(|e| failed(helper, &e.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read has decided already; its exit code tells.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(|e| failed(helper, &e.to_string()))?;
        if output.status.success() {
            return Ok(Ok(output.stdout));
        }
        // Helpers say on stdout why they failed; a shell says it on stderr.
        let said = if output.stdout.trim_ascii().is_empty() { &output.stderr } else { &output.stdout };
        let said: String = String::from_utf8_lossy(said).trim().chars().filter(|c| !c.is_control()).take(300).collect();
        Ok(Err(if said.is_empty() { output.status.to_string() } else { said }))
    }
}

fn failed(helper: &str, why: &str) -> CredentialsError {
    CredentialsError::Helper { program: format!("docker-credential-{helper}"), why: why.to_owned() }
}

fn bad(path: &Path, why: &str) -> CredentialsError {
    CredentialsError::Config { path: path.to_owned(), why: why.to_owned() }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Config, CredentialsError> {
    Config::parse(bytes).map_err(|why| bad(path, &why))
}

/// The file as JSON, with all that other programs keep in it; `{}` when there is none.
fn read_document(path: &Path) -> Result<Value, CredentialsError> {
    match fs::read(path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Ok(json!({})),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| bad(path, &json_error(&e))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(json!({})),
        Err(source) => Err(CredentialsError::Io { path: path.to_owned(), source }),
    }
}

fn auths_of<'a>(document: &'a mut Value, path: &Path) -> Result<&'a mut Map<String, Value>, CredentialsError> {
    let found = document.as_object_mut().map(|object| object.entry("auths").or_insert_with(|| json!({})));
    found.and_then(Value::as_object_mut).ok_or_else(|| bad(path, "expected an object with an object `auths` in it"))
}

/// Replaces the file as a whole by one that only its owner may read, which is how `tempfile` makes them. A link is
/// followed: people keep `config.json` elsewhere.
fn write_document(path: &Path, document: &Value) -> Result<(), CredentialsError> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let failed = |source: io::Error| CredentialsError::Io { path: path.clone(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_private(folder).map_err(failed)?;
    let mut text = serde_json::to_vec_pretty(document).map_err(|e| failed(e.into()))?;
    text.push(b'\n');
    let mut file = NamedTempFile::with_prefix_in(".credentials-", folder).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.as_file().sync_data()).map_err(failed)?;
    file.persist(&path).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn create_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}
