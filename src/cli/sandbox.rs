//! The commands that run something here: `microbuild dev` and `microbuild run`.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    CliError,
    args::{DevOptions, RunOptions},
    build::builds,
    job::Job,
    local_images, store,
};
use crate::{
    error::Explain as _,
    host::Host,
    image::{Artifact, FormatError, Image, ImageConfig},
    images,
    pipeline::{self, BuildError, Caches, DevJob, DevVariant, HOSTNAME, Owner},
    plan::host_platform,
    project::{self, Project},
    sandbox::{Forward, Ids, Mount, Network, Output, Root, Runtime, Sandbox, SandboxError, roots},
    secret::{DEV, Secrets},
    store::Workspace,
    ui::Ui,
    values::{Deps, Publish, StopSignal, Volume},
};

/// `microbuild dev RECIPE [APP] -- CMD…`: the command's exit status.
pub(super) fn dev(
    host: &Host,
    recipe: &str,
    app: &Path,
    options: DevOptions,
    command: &[String],
) -> Result<u8, CliError> {
    let job = Job::new(host, Some(recipe), app, options.setup.into())?;
    let runtime = Runtime::find(job.request.step.runtime.as_deref(), host)?;
    let secrets = Secrets::read(&job.request.step.secrets, host)?;
    let (project, variant, root, caches) = unpack_dev(&job)?;
    let folder = fs::canonicalize(app).map_err(stdio("find the app's folder"))?;
    let args = if options.shell { vec!["/bin/sh".to_owned()] } else { command.to_vec() };
    let (mut env, secret_files) = DevVariant::variables(&job.recipe, &project, &|name| host.variable(name));
    env.extend(variables(host, &options.env));
    let secrets = secrets.of(DEV, &job.recipe);
    let step = &job.request.step;
    let dev_job = DevJob { args, folder, env, secret_files, mounts: Vec::new(), secrets, host, step };
    let sandbox = variant.sandbox(&job.recipe, &root, &caches, dev_job).map_err(BuildError::from)?;
    Ok(sandbox.run(&runtime, Output::Inherit)?.code())
}

/// The recipe's dev variant, unpacked, and the folders that are kept between builds.
fn unpack_dev(job: &Job) -> Result<(Project, DevVariant, Root, Caches), CliError> {
    // The root has a lock of its own, so that hours of work in it keep no `gc` waiting.
    let tools = job.tools()?;
    let (fetcher, store) = (&tools.fetcher, tools.fetcher.store());
    // The command of the app itself is not needed here.
    let options = project::Options { deps: Deps::Auto, cmd: Some(Vec::new()), ..project::Options::default() };
    let project = Project::read(&job.request.app, &job.recipe, &options).or_else(|error| match error {
        // Nothing is installed here, so that it does not matter how.
        project::ProjectError::NotInstalled { .. } => {
            Project::read(&job.request.app, &job.recipe, &project::Options { deps: Deps::None, ..options.clone() })
        }
        error => Err(error),
    });
    let project = project.map_err(BuildError::from)?;
    let request = pipeline::resolve_base(&job.request, &job.recipe, fetcher, &job.ui)?;
    let variant = DevVariant::new(&request, &job.recipe, &project, fetcher)?;
    let root = variant.unpack(store, &job.ui)?;
    let caches = Caches::new(&job.recipe, &Owner::of(&job.request.step, &project), store)?;
    Ok((project, variant, root, caches))
}

/// `microbuild run IMAGE|APP [-- ARG…]`: its exit status.
pub(super) fn run(host: &Host, target: &str, options: &RunOptions, args: &[String]) -> Result<u8, CliError> {
    let ui = super::ui(&options.setup.common);
    let (artifact, runtime) = artifact(host, target, options)?;
    let image = for_this_machine(target, &artifact)?;
    let config = image.configuration().map_err(FormatError::from)?;
    let user = options.user.as_ref().map_or_else(|| config.user().to_owned(), ToString::to_string);
    let folders = writable_folders(image, &config, options);
    let rootfs = Rootfs::unpack(host, image, options, !folders.is_empty(), &ui)?;
    let ids = Ids::of(&user, rootfs.path()).map_err(SandboxError::from)?;
    let mut env = config.env();
    env.extend(variables(host, &options.env));
    let mut command = config.entrypoint().to_vec();
    command.extend_from_slice(if args.is_empty() { config.cmd() } else { args });
    if command.is_empty() {
        return Err(CliError::Usage {
            message: format!("{target} has neither an entrypoint nor a command"),
            hint: format!("name the command: microbuild run {target} -- COMMAND"),
        });
    }
    let network = if options.no_network { Network::None } else { Network::Host };
    let stop_signal = config.stop_signal().and_then(|signal| signal.parse::<StopSignal>().ok());
    let own = folders.into_iter().filter_map(|target| {
        let source = rootfs.root()?.folder(&target)?;
        Some(Mount::Bind { source, target, writable: true })
    });
    let own: Vec<_> = own.collect();
    let sandbox = Sandbox {
        root: rootfs.path().to_owned(),
        writable: options.writable,
        args: command,
        env,
        cwd: config.workdir().to_owned(),
        user: ids,
        mounts: own.into_iter().map(Ok).chain(options.volume.iter().map(mount)).collect::<Result<_, _>>()?,
        network,
        hostname: HOSTNAME.into(),
        confidential: false,
        stop_signal: stop_signal.map(|signal| signal.number()),
    };
    for publish in options.publish.iter().filter(|publish| !publish.host.ip().is_unspecified()) {
        ui.warn(&unlimited(publish));
    }
    for volume in options.volume.iter().filter(|volume| !volume.writable) {
        if runtime.leaves_writable(&fs::canonicalize(&volume.source).unwrap_or_default()) {
            ui.warn(&format!(
                "-v {volume}: mounts below {} stay writable; {} cannot make them read-only",
                volume.source.display(),
                runtime.name()
            ));
        }
    }
    let _forwards = options.publish.iter().map(Forward::open).collect::<Result<Vec<_>, _>>()?;
    if network == Network::Host {
        ui.say("network: this machine's; the app's ports are ports of this machine");
    }
    let output = if options.tty { Output::Inherit } else { Output::Streams };
    let status = sandbox.run(&runtime, output)?;
    if let Some(port) = low_port(&sandbox, &config, options).filter(|_| !status.success()) {
        ui.warn(&format!(
            "on this machine only root may listen on port {port}: --env PORT=8080 moves an app that reads it, --user root lets it, \
             and so does `sysctl net.ipv4.ip_unprivileged_port_start=0` as root; a Docker engine allows it"
        ));
    }
    Ok(status.code())
}

/// The port that an app is to listen on and may not: on the machine's network only root may use the lowest ones, and a container
/// engine gives each container a network of its own.
fn low_port(sandbox: &Sandbox, config: &ImageConfig, options: &RunOptions) -> Option<u16> {
    if sandbox.network != Network::Host || sandbox.user.uid == 0 {
        return None;
    }
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    let first: u16 = first.and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
    let set = sandbox.env.get("PORT").and_then(|port| port.parse().ok());
    let published = options.publish.iter().map(|publish| publish.container);
    // Where the environment has a port, the app hardly listens on another one.
    let known: Vec<u16> = match set {
        Some(port) => vec![port],
        None => published.chain(config.ports()).collect(),
    };
    known.into_iter().find(|port| *port < first)
}

/// The folders that the app may write to although its root filesystem is read-only: those that belong to its user, and volumes. What
/// it writes vanishes with the container, unless the user mounts something there.
fn writable_folders(image: &Image, config: &ImageConfig, options: &RunOptions) -> Vec<String> {
    if options.writable {
        return Vec::new();
    }
    let mut folders: Vec<String> = image.writable().into_iter().chain(config.volumes()).collect();
    folders.sort();
    folders.dedup();
    folders.retain(|folder| !options.volume.iter().any(|volume| volume.target == *folder));
    folders
}

/// The warning for a port at one address of this machine: it does not keep the app from listening elsewhere.
fn unlimited(publish: &Publish) -> String {
    let (host, port) = (publish.host, publish.container);
    let also = if host.port() == port { String::new() } else { format!(" {host} leads to the app's port {port}, but") };
    format!(
        "-p {publish} does not restrict the app:{also} the app uses this machine's network, and listens on port {port} of every \
         address that it binds itself, for most apps all of them"
    )
}

/// The image: built for this machine when `target` is a folder, else a local one; and what it is run with.
fn artifact(host: &Host, target: &str, options: &RunOptions) -> Result<(Artifact, Runtime), CliError> {
    let path = Path::new(target);
    if path.is_dir() {
        let mut job = Job::new(host, options.recipe.as_deref(), path, options.setup.clone().into())?;
        job.request.platforms = vec![host_platform()];
        let runtime = Runtime::find(job.request.step.runtime.as_deref(), host)?;
        return Ok((builds(&job)?, runtime));
    }
    let runtime = Runtime::find(options.setup.machine.runtime.as_deref(), host)?;
    let image = local_images(host)?.get(target).map_err(|error| match error {
        images::ImagesError::NotFound { .. } => CliError::Usage {
            message: format!("`{target}` is neither a folder nor a local image"),
            hint: error.hint().unwrap_or_default(),
        },
        error => error.into(),
    });
    Ok((image?, runtime))
}

/// The image of `artifact` that runs on this machine.
fn for_this_machine<'a>(target: &str, artifact: &'a Artifact) -> Result<&'a Image, CliError> {
    let host = host_platform();
    let fits = |image: &&Image| image.platform.os == host.os && image.platform.architecture == host.architecture;
    artifact.images.iter().find(fits).ok_or_else(|| CliError::Usage {
        message: format!(
            "{target} has no image for {host}, only for {}",
            artifact.images.iter().map(|image| image.platform.to_string()).collect::<Vec<_>>().join(", ")
        ),
        hint: format!("build it with --platform {host}"),
    })
}

/// An image's root filesystem: shared by all its containers, or a private copy that is removed.
enum Rootfs {
    Shared(Root),
    Private(Root, Workspace),
}

impl Rootfs {
    /// Unpacks the image. With `writes`, the app writes to some of its folders.
    fn unpack(host: &Host, image: &Image, options: &RunOptions, writes: bool, ui: &Ui) -> Result<Self, CliError> {
        let store = store(host, options.setup.common.cache_dir.as_deref())?;
        let _in_use = store.lock_shared()?;
        if !options.writable && !writes {
            let root = roots::unpack(&store, &image.layers, &[], ui)?;
            if !options.volume.iter().any(|volume| root.lacks(&volume.target)) {
                return Ok(Self::Shared(root));
            }
        }
        // The app, or the mount points of volumes, need a copy that can be written to.
        let workspace = Workspace::new(&store)?;
        let target = |volume: &Volume| roots::Target { path: volume.target.clone(), is_file: volume.source.is_file() };
        let targets: Vec<_> = options.volume.iter().map(target).collect();
        let root = roots::unpack_private(&image.layers, &targets, workspace.path(), ui)?;
        Ok(Self::Private(root, workspace))
    }

    /// The private copy.
    fn root(&self) -> Option<&Root> {
        match self {
            Self::Shared(_) => None,
            Self::Private(root, _) => Some(root),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Shared(root) => root.path(),
            Self::Private(_, workspace) => workspace.path(),
        }
    }
}

fn mount(volume: &Volume) -> Result<Mount, CliError> {
    let source = fs::canonicalize(&volume.source).map_err(|source| CliError::Usage {
        message: format!("cannot mount {}: {source}", volume.source.display()),
        hint: "-v SOURCE:TARGET mounts a file or folder that exists".into(),
    })?;
    Ok(Mount::Bind { source, target: volume.target.clone(), writable: volume.writable })
}

/// `KEY=VALUE`, or `KEY` for its value here.
fn variables(host: &Host, given: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((text.clone(), host.variable(text)?)),
    };
    given.iter().filter_map(pair).filter(|(name, _)| !name.is_empty()).collect()
}

fn stdio(what: &'static str) -> impl FnOnce(std::io::Error) -> CliError {
    move |source| CliError::Stdio { what, source }
}
