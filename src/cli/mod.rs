//! The command line: it parses the arguments, calls the library, and prints the results.
//!
//! stdout is data, stderr is talk: a build prints one line on stdout (or one JSON object), so that
//! `$(microbuild node ./app -t … --push)` can be used. [`run`] does everything but exit.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::Path,
    time::{Duration, SystemTime},
};

use clap::{CommandFactory as _, FromArgMatches};

use crate::{
    config::{CommonOptions, ConfigError, Merge as _, NetworkOptions, UserConfig},
    error::{Explain, Kind},
    host::Host,
    http::{Http, HttpError, HttpOptions, Insecure},
    image::{Artifact, FormatError},
    images::{self, GcOptions, ImagesError, LocalImages},
    pipeline::BuildError,
    recipe::{LISTS, RUN, Recipe, RecipeError, RecipeSearch, Trust},
    registry::{self, CredentialStore, ParseReferenceError, Reference, Registry, RegistryError, Stored},
    sandbox::SandboxError,
    secret::SecretError,
    sink::{self, ParseOutputError, SinkError, registry::PushReport},
    store::{Store, StoreError},
    ui::{self, Ui},
    values::ValueError,
};

pub mod args;
mod build;
pub(crate) mod job;
mod report;
mod sandbox;

/// Without `--all`, `gc` keeps what was used in this time.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

use args::{Cli, Command, PushOptions, RecipeCli, with_docker_shorts, with_environment};
use job::is_on;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each is what its source says")]
pub enum CliError {
    /// The command line cannot be parsed, or asks for help, which is no failure.
    #[error("{0}")]
    Words(Box<clap::Error>),
    /// Options that contradict each other, or lack something.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Images(#[from] ImagesError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Output(#[from] ParseOutputError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// Standard input or output failed.
    #[error("cannot {what}: {source}")]
    Stdio {
        /// What was to be done.
        what: &'static str,
        /// Why it cannot.
        source: io::Error,
    },
}

/// What an error of the command line itself is.
enum Own {
    Usage,
    Stdio,
}

impl CliError {
    /// The error that it passes on; else what it is itself.
    fn cause(&self) -> Result<&dyn Explain, Own> {
        Ok(match self {
            Self::Config(e) => e,
            Self::Recipe(e) => e,
            Self::Build(e) => e,
            Self::Http(e) => e,
            Self::Store(e) => e,
            Self::Images(e) => e,
            Self::Format(e) => e,
            Self::Output(e) => e,
            Self::Sink(e) => e,
            Self::Registry(e) => e,
            Self::Sandbox(e) => e,
            Self::Secret(e) => e,
            Self::Reference(e) => e,
            Self::Words(_) | Self::Usage { .. } | Self::Value(_) => return Err(Own::Usage),
            Self::Stdio { .. } => return Err(Own::Stdio),
        })
    }
}

impl Explain for CliError {
    fn kind(&self) -> Kind {
        match self.cause() {
            Ok(cause) => cause.kind(),
            Err(Own::Usage) => Kind::Usage,
            Err(Own::Stdio) => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Usage { hint, .. } = self {
            return Some(hint.clone());
        }
        self.cause().ok().and_then(Explain::hint)
    }
}

/// Runs the command that `words` name, of which the first is the program's name, for `host`. Returns the exit status: 0, or that of
/// what was run. (The variables of options, `MICROBUILD_…`, are those of this process: clap reads them itself.)
///
/// # Errors
/// Whatever the command fails with. What clap has to say (help included) comes as [`CliError::Words`].
pub fn run(words: impl IntoIterator<Item = OsString>, host: &Host) -> Result<u8, CliError> {
    let words: Vec<OsString> = words.into_iter().collect();
    #[cfg(target_os = "linux")]
    if let Some(status) = crate::sandbox::serve(&words, host) {
        return Ok(status);
    }
    let mut cli: Cli = parse(with_docker_shorts(Cli::command()), words)?;
    let user = UserConfig::read(host.config_home().as_deref())?;
    fill(&mut cli.command, &user);
    let done = match cli.command {
        // These end as what they run does.
        Command::Dev { recipe, app, options, command } => return sandbox::dev(host, &recipe, &app, *options, &command),
        Command::Run { target, options, args } => return sandbox::run(host, &target, &options, &args),
        Command::Build { app, recipe, options } => build::build(host, recipe.as_deref(), &app, *options),
        Command::Base { recipe, dev, options } => build::base(host, &recipe, dev, *options),
        Command::Recipe(words) => build_with_recipe(host, words, &user),
        Command::Plan { recipe, app, options } => build::plan(host, &recipe, &app, *options),
        Command::Why { package, recipe, app, options } => build::why(host, &package, &recipe, &app, *options),
        Command::Push { image, reference, push: options, common, network } => {
            push(host, &image, &reference, &options, &common, &network)
        }
        Command::Images { common } => list_images(host, &common),
        Command::Inspect { image, common: _ } => print(&(pretty(&local_images(host)?.inspect(&image)?) + "\n")),
        Command::Export { image, output, common } => {
            let artifact = local_images(host)?.get(&image)?;
            sink::write(&output, &artifact, &[images::with_tag(&image)], host, &ui(&common))?;
            print(&format!("{}@{}\n", images::with_tag(&image), artifact.root().digest))
        }
        Command::Rm { images, common } => remove(host, &images, &common),
        Command::Gc { all, common } => gc(host, all, &common),
        Command::Recipes { name: Some(name), files: Some(to), app } => recipe_files(host, &name, to.as_deref(), &app),
        Command::Recipes { name, app, .. } => recipes(host, name.as_deref(), &app),
        Command::Login { registry, username, password_stdin, network } => {
            login(host, &registry, username, password_stdin, &network)
        }
        Command::Logout { registry } => {
            let had = registry::logout(&credentials(host), &registry)?;
            eprintln!("{} {registry}", if had { "logged out of" } else { "there were no credentials for" });
            Ok(())
        }
        Command::Completions { shell } => completions(shell),
    };
    done.map(|()| 0)
}

/// Fills in what the user's own configuration says where neither a flag nor a variable says something.
fn fill(command: &mut Command, user: &UserConfig) {
    match command {
        Command::Build { options, .. }
        | Command::Base { options, .. }
        | Command::Plan { options, .. }
        | Command::Why { options, .. } => options.fill(user),
        Command::Run { options, .. } => options.setup.fill(user),
        Command::Dev { options, .. } => options.setup.fill(user),
        Command::Push { common, network, .. } => {
            common.fill(&user.common);
            network.fill(&user.network);
        }
        Command::Login { network, .. } => network.fill(&user.network),
        Command::Images { common }
        | Command::Inspect { common, .. }
        | Command::Export { common, .. }
        | Command::Rm { common, .. }
        | Command::Gc { common, .. } => common.fill(&user.common),
        // `Recipe` holds words that are not parsed yet; the others have no options of a file.
        Command::Recipe(_) | Command::Recipes { .. } | Command::Logout { .. } | Command::Completions { .. } => {}
    }
}

/// `microbuild RECIPE [APP]`: the recipe stands where another command's name would.
fn build_with_recipe(host: &Host, words: Vec<OsString>, user: &UserConfig) -> Result<(), CliError> {
    let mut words = words.into_iter();
    let recipe = words.next().unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("microbuild {recipe}");
    let command = RecipeCli::command()
        .name(name.clone())
        .bin_name(name.clone())
        .about(format!("Builds APP with the recipe `{recipe}`; the options stand in the environment and in files too"));
    let RecipeCli { app, mut options } = parse(command, std::iter::once(OsString::from(&name)).chain(words))?;
    options.fill(user);
    build::build(host, Some(&recipe), &app, *options)
}

/// Reads the words with the clap command of `T`.
fn parse<T: FromArgMatches>(command: clap::Command, words: impl IntoIterator<Item = OsString>) -> Result<T, CliError> {
    let matches = with_environment(command).try_get_matches_from(words);
    matches.and_then(|matches| T::from_arg_matches(&matches)).map_err(|e| CliError::Words(Box::new(e)))
}

fn ui(common: &CommonOptions) -> Ui {
    let mode = if common.quiet { ui::Mode::None } else { common.progress.unwrap_or_default() };
    Ui::new(mode, common.verbose)
}

fn http(network: &NetworkOptions, offline: bool, ui: &Ui) -> Result<Http, CliError> {
    if network.insecure.contains(&Insecure::All) {
        ui.warn(
            "--insecure checks no certificate, and allows plain HTTP to every registry; --insecure=HOST limits that to one host",
        );
    }
    let options = HttpOptions {
        ca: network.ca.clone(),
        insecure: network.insecure.clone(),
        offline,
        ui: ui.clone(),
        ..HttpOptions::default()
    };
    Ok(Http::new(options)?)
}

/// The store of this user, or where `given` says.
fn store(host: &Host, given: Option<&Path>) -> Result<Store, CliError> {
    let dir = match given {
        Some(dir) => dir.to_owned(),
        None => host.cache_home().map(|cache| cache.join("microbuild")).ok_or_else(|| CliError::Usage {
            message: "no folder for the cache: neither HOME nor XDG_CACHE_HOME is set".into(),
            hint: "name one: --cache-dir DIR".into(),
        })?,
    };
    Ok(Store::open(&dir)?)
}

/// The local images of this user.
fn local_images(host: &Host) -> Result<LocalImages, CliError> {
    Ok(LocalImages::open(&images::default_dir(host)?)?)
}

/// The credentials of this user.
fn credentials(host: &Host) -> CredentialStore {
    CredentialStore::from_env(|name| host.variable_os(name))
}

/// Prints `text` on stdout. Names in it may be a stranger's: what would steer a terminal is escaped.
fn print(text: &str) -> Result<(), CliError> {
    print_as_it_is(&ui::plain_document(text))
}

fn print_as_it_is(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match printed {
        // The reader has seen enough: `microbuild images | head -1`.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|source| CliError::Stdio { what: "write to standard output", source }),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    let text = format!("{value:#}");
    // What serde_json has left unescaped can stand in strings only.
    let harmful = |c: char| ui::is_harmful(c) && c != '\n';
    if !text.contains(harmful) {
        return text;
    }
    let escape = |c: char| if harmful(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn push(
    host: &Host,
    image: &str,
    to: &str,
    options: &PushOptions,
    common: &CommonOptions,
    network: &NetworkOptions,
) -> Result<(), CliError> {
    let ui = ui(common);
    let reference: Reference = to.parse()?;
    let artifact = local_images(host)?.get(image)?;
    let http = http(network, false, &ui)?;
    let store = store(host, common.cache_dir.as_deref())?;
    let pushed = push_to(std::slice::from_ref(&reference), &artifact, options.options(), host, &http, &store, &ui)?;
    let digest = report::pushed_digest(&artifact, &pushed);
    if is_on(common.json) {
        return print(&(pretty(&report::push_json(&reference, &artifact, &pushed)) + "\n"));
    }
    print(&format!("{reference}@{digest}\n"))
}

pub(crate) fn push_to(
    references: &[Reference],
    artifact: &Artifact,
    options: sink::registry::Options,
    host: &Host,
    http: &Http,
    store: &Store,
    ui: &Ui,
) -> Result<Vec<PushReport>, RegistryError> {
    let credentials = credentials(host);
    let connect = |name: &str| Registry::new(http, &credentials, name);
    sink::registry::push_as(&connect, Some(store), references, artifact, options, ui)
}

fn list_images(host: &Host, common: &CommonOptions) -> Result<(), CliError> {
    let rows = local_images(host)?.list()?;
    if is_on(common.json) {
        return print(&(pretty(&report::image_rows_json(&rows)) + "\n"));
    }
    print(&report::image_rows(&rows))
}

fn remove(host: &Host, names: &[String], common: &CommonOptions) -> Result<(), CliError> {
    let local = local_images(host)?;
    let ui = ui(common);
    for name in names {
        let (digest, freed) = local.remove(name)?;
        ui.say(&format!("removed {name}, {} freed", ui::size(freed)));
        print(&format!("{digest}\n"))?;
    }
    Ok(())
}

fn gc(host: &Host, all: bool, common: &CommonOptions) -> Result<(), CliError> {
    // First, so that nothing runs in the folders that are removed next.
    crate::sandbox::bundle::sweep(host);
    let local = local_images(host)?;
    let options = GcOptions { now: SystemTime::now(), unused_for: UNUSED, all };
    let freed = local.gc(&store(host, common.cache_dir.as_deref())?, options)?;
    if is_on(common.json) {
        return print(&(pretty(&serde_json::json!({"removed": freed.removed, "freed": freed.freed})) + "\n"));
    }
    ui(common).say(&format!("{} files removed, {} freed", freed.removed, ui::size(freed.freed)));
    Ok(())
}

fn recipe_search(host: &Host, app: &Path, trust: Trust) -> RecipeSearch {
    RecipeSearch::new(app, host.config_home().as_deref(), trust)
}

fn recipes(host: &Host, name: Option<&str>, app: &Path) -> Result<(), CliError> {
    // They are shown, not used: no trust is needed.
    let search = recipe_search(host, app, Trust::Yes);
    match name {
        Some("lists") => print_text(LISTS),
        Some(name) => print_text(&search.find(name)?.text),
        None => {
            let all = search.all()?;
            let width = all.iter().map(|recipe| recipe.name.len()).max().unwrap_or(0);
            let line = |r: &Recipe| match r.origin.file() {
                None => format!("{:width$}  {}\n", r.name, r.description),
                Some(path) => format!("{:width$}  {}  ({})\n", r.name, r.description, path.display()),
            };
            print(&all.iter().map(line).collect::<String>())
        }
    }
}

/// Prints a text that somebody may want to keep: into a file or a pipe it goes byte for byte.
fn print_text(text: &str) -> Result<(), CliError> {
    if io::stdout().is_terminal() { print(text) } else { print_as_it_is(text) }
}

/// Prints the files of the recipe `name`, each below a line with its name, or writes them into the folder `to`.
fn recipe_files(host: &Host, name: &str, to: Option<&Path>, app: &Path) -> Result<(), CliError> {
    let recipe = recipe_search(host, app, Trust::Yes).find(name)?;
    let Some(folder) = to else {
        let shown = |(name, content): (&String, &String)| format!("==> {RUN}/{name} <==\n{content}\n");
        return print_text(&recipe.programs.iter().map(shown).collect::<String>());
    };
    let error = |path: &Path, source: io::Error| CliError::Usage {
        message: format!("cannot write {}: {source}", path.display()),
        hint: "--files=DIR names a folder that has none of these files yet".into(),
    };
    fs::create_dir_all(folder).map_err(|e| error(folder, e))?;
    for (name, content) in &recipe.programs {
        let path = folder.join(name);
        let made = fs::File::options().write(true).create_new(true).open(&path);
        made.and_then(|mut file| file.write_all(content.as_bytes())).map_err(|e| error(&path, e))?;
    }
    Ok(())
}

fn login(
    host: &Host,
    registry: &str,
    username: Option<String>,
    password_stdin: bool,
    network: &NetworkOptions,
) -> Result<(), CliError> {
    let ui = Ui::new(ui::Mode::Plain, false);
    let registry = registry::parse_registry(registry)?;
    let Some(username) = username else {
        return Err(CliError::Usage { message: "login needs a user name".into(), hint: "add -u NAME".into() });
    };
    if !password_stdin {
        return Err(CliError::Usage {
            message: "login needs --password-stdin: other users can see a password on a command line".into(),
            hint: format!("printf %s \"$PASSWORD\" | microbuild login {registry} -u {username} --password-stdin"),
        });
    }
    let mut password = String::new();
    let read = io::stdin().lock().take(1 << 20).read_to_string(&mut password);
    read.map_err(|source| CliError::Stdio { what: "read the password from standard input", source })?;
    let password = password.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        let hint = "the password is read to the end of standard input".into();
        return Err(CliError::Usage { message: "standard input holds no password".into(), hint });
    }
    let credentials = credentials(host);
    let stored = registry::login(&http(network, false, &ui)?, &credentials, &registry, &username, password)?;
    if credentials.is_overruled(&registry) {
        ui.warn(&format!("DOCKER_AUTH_CONFIG also has credentials for {registry}, and those are used instead"));
    }
    ui.say(&match stored {
        Stored::Helper(helper) => format!("logged in to {registry}; kept by {helper}"),
        Stored::File(path) => format!("logged in to {registry}; kept in {}, unencrypted", path.display()),
    });
    Ok(())
}

/// The completions know the built-in recipes as commands, although clap does not.
fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut command = with_docker_shorts(Cli::command());
    for recipe in RecipeSearch::default().all()? {
        let name = recipe.name.clone();
        // One that is called as a command is reached by `build --recipe`.
        if command.find_subcommand(&name).is_some() {
            continue;
        }
        command = command.subcommand(RecipeCli::command().name(name).about(recipe.description));
    }
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "microbuild", &mut script);
    print_as_it_is(&String::from_utf8_lossy(&script))
}

/// Prints an error and its hint on stderr, and returns the exit code.
pub fn explain(error: &CliError) -> u8 {
    if let CliError::Words(words) = error {
        let code = if words.use_stderr() { Kind::Usage as u8 } else { 0 };
        // Nothing is left to be done where the terminal is gone.
        let _ = words.print();
        return code;
    }
    eprintln!("error: {}", ui::plain_lines(&error.to_string()));
    if let Some(hint) = error.hint() {
        eprintln!("hint: {}", ui::plain_lines(&hint));
    }
    match error {
        // As a shell has it, for a command that could not be started.
        CliError::Sandbox(error) => error.status().unwrap_or(error.kind() as u8),
        CliError::Build(error) => error.status().unwrap_or(error.kind() as u8),
        error => error.kind() as u8,
    }
}
