//! The libraries of programs that were built elsewhere: from packages, or from this machine.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{App, BuildError, MaybeCached, programs, steps::Steps, system::System};
use crate::{
    app_folder::AppFolder,
    elf::{
        Elf,
        closure::ClosureError,
        machine::{self, Machine},
    },
    error::{Explain, Kind},
    fetch::Fetcher,
    image::Platform,
    lang::Language,
    lock::{self, Needs, Packages},
    plan::{Plan, Wanted, host_platform},
    project::{Project, ProjectError},
    rootfs::Programs,
    store::Workspace,
    values::Base,
};

/// The error of a search for a program's libraries.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The program is for another processor.
    #[error("expected a program for {platform}, found {file} for another processor")]
    Processor {
        /// The image's platform.
        platform: Platform,
        /// The program.
        file: String,
    },
    /// The program is linked with another C library than the base's.
    #[error(
        "expected programs that are linked statically or with the {expected} of {base}, found {file}, which needs {found}"
    )]
    Libc {
        /// The base.
        base: Base,
        /// The base's C library.
        expected: &'static str,
        /// The program.
        file: String,
        /// The C library that it needs.
        found: &'static str,
    },
    /// The libraries would come from this machine, which has another processor.
    #[error(
        "expected a program for this machine ({host}), whose libraries would be taken, found {file} for {platform}"
    )]
    Foreign {
        /// This machine.
        host: Platform,
        /// The image's platform.
        platform: Platform,
        /// The program.
        file: String,
    },
    /// This machine lacks a library.
    #[error("{0}")]
    Missing(ClosureError),
    /// What a step installed lacks libraries, which no package of the image or of the dev variant has.
    #[error("{missing}")]
    Lacks {
        /// The libraries.
        missing: ClosureError,
        /// The packages that have them, as `-p` takes them.
        packages: Vec<String>,
    },
    /// A library cannot be copied.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The library.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Explain for LinkError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(e) | Self::Lacks { missing: e, .. } => e.kind(),
            Self::Processor { .. } | Self::Libc { .. } | Self::Foreign { .. } | Self::Io { .. } => Kind::Build,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Processor { .. } => Some("set the image's platform with --platform, such as linux/arm64".into()),
            Self::Libc { found: "glibc", .. } => {
                Some("--base debian takes its libraries from Debian's packages, --base scratch from this machine".into())
            }
            Self::Libc { .. } => Some("--base alpine or --base scratch takes its libraries from Alpine's packages".into()),
            Self::Foreign { .. } => Some("--base debian takes its libraries from Debian's packages".into()),
            Self::Missing(_) => Some(
                "install it on this machine, put it beside the program (with LD_LIBRARY_PATH or $ORIGIN), or let \
                 --base debian take it from Debian's packages (-p NAME, where the package is not called as the library is)"
                    .into(),
            ),
            Self::Lacks { missing, packages } if packages.is_empty() => missing.hint(),
            Self::Lacks { packages, .. } => Some(format!("add what brings it: -p {}", packages.join(","))),
            Self::Io { .. } => None,
        }
    }
}

/// The libraries that programs of the project are linked with.
#[derive(Default)]
pub(super) struct Linked {
    /// Packages, and the files that are needed of them.
    packages: Option<(Packages, Needs)>,
    /// Files of this machine, in a folder with their paths in the image.
    machine: Option<Workspace>,
}

impl Linked {
    /// Adds them to the `packages` of the image.
    pub(super) fn link(&self, packages: &mut Packages) {
        if let Some((from, needs)) = &self.packages {
            packages.add(from, needs);
        }
    }
}

impl Steps<'_> {
    /// Finds the libraries that the project's own programs are linked with.
    pub(super) fn linked(&self, platform: &Platform, plan: &Plan) -> Result<Linked, BuildError> {
        if !self.recipe.language.is_some_and(Language::is_finished) {
            return Ok(Linked::default());
        }
        let workdir = plan.configuration.workdir.trim_matches('/');
        let mut programs = programs::read(&self.project.folder()?, &self.project.files, workdir, plan.library_path());
        let entry = self.project.entry.as_ref().map(|entry| format!("{workdir}/{entry}"));
        let entry = entry.map(|entry| entry.trim_start_matches('/').to_owned());
        programs::keep(&mut programs, plan.arch(platform), entry.as_deref())
            .map_err(|file| LinkError::Processor { platform: platform.clone(), file })?;
        // The program that starts decides which C library is needed, else the first program.
        let started = entry.and_then(|entry| programs.files.get_key_value(&entry));
        let mut all = started.into_iter().chain(&programs.files);
        let Some((file, elf)) = all.find(|(_, elf)| elf.interpreter.is_some()) else {
            return Ok(Linked::default());
        };
        let found = libc(elf);
        match &plan.base {
            base if base.is_scratch() && found == "glibc" && *platform != host_platform() => {
                let (host, platform) = (host_platform(), platform.clone());
                Err(LinkError::Foreign { host, platform, file: file.clone() }.into())
            }
            base if base.is_scratch() && found == "glibc" => self.of_machine(&programs),
            base if base.libc() == found => self.of_packages(platform, plan, &programs),
            base => {
                let (base, expected) = (base.clone(), base.libc());
                Err(LinkError::Libc { base, expected, file: file.clone(), found }.into())
            }
        }
    }

    /// Copies the files that this machine's loader would take, and lists them: no file of the machine gets into an
    /// image unnoticed.
    fn of_machine(&self, programs: &Programs) -> Result<Linked, BuildError> {
        let machine = Machine::new(self.request.host.root());
        let taken = machine.libraries(&programs.files, &programs.links, &programs.extra).map_err(LinkError::Missing)?;
        for (program, folder) in &taken.withheld {
            let (program, folder) = (program.escape_debug(), folder.escape_debug());
            self.ui.warn(&format!(
                "{program} looks for libraries in {folder}, a folder of this machine that is not searched: only those of \
                 /etc/ld.so.conf and the system's own (/lib, /usr/lib and the like) are"
            ));
        }
        if taken.files.is_empty() {
            return Ok(Linked::default());
        }
        let names = taken.files.values().map(|real| real.to_string_lossy().escape_debug().to_string());
        self.ui.notice(&format!("taken from this machine: {}", names.collect::<Vec<_>>().join(", ")));
        let folder = Workspace::new(self.fetcher.store())?;
        for (path, real) in &taken.files {
            let target = folder.path().join(path);
            let folder = target.parent().unwrap_or(folder.path());
            let copied = fs::create_dir_all(folder).and_then(|()| copy(real, &target));
            copied.map_err(|source| LinkError::Io { path: real.clone(), source })?;
        }
        Ok(Linked { machine: Some(folder), packages: None })
    }

    /// Finds the libraries in the packages for these names.
    fn of_packages(&self, platform: &Platform, plan: &Plan, programs: &Programs) -> Result<Linked, BuildError> {
        let mut request = self.request.clone();
        request.packages.extend(candidates(plan, platform, programs, self.fetcher)?);
        let plan = Plan::new(&request, self.recipe, self.project)?;
        let lock = lock::lock(&plan, platform, self.fetcher)?;
        let needs = System::new(&plan, &lock, self.request.compression, self.fetcher)?.needs(programs, &|_| true)?;
        Ok(Linked { packages: Some((lock.packages, needs)), machine: None })
    }

    /// Makes the layer of this machine's libraries, when there are any.
    pub(super) fn linked_layer(&self, linked: &Linked, app: &App) -> Result<Option<MaybeCached>, BuildError> {
        let Some(folder) = &linked.machine else { return Ok(None) };
        let files = Project::made(folder.path(), &[])?;
        let root = App { links: app.links.clone(), times: app.dependencies, ..App::nowhere() };
        let from = AppFolder::open(folder.path()).map_err(ProjectError::from)?;
        let layer = root.layer("libraries", &from, files);
        let record = layer.write(self.fetcher.store().blobs(), self.request.compression)?;
        Ok(Some((self.stored(record), false)))
    }
}

/// Copies a library of this machine.
fn copy(library: &Path, target: &Path) -> io::Result<()> {
    let (file, _) = machine::open(library)?;
    let about = file.metadata()?;
    let mut out = File::create_new(target)?;
    io::copy(&mut file.take(about.len()), &mut out)?;
    out.set_permissions(about.permissions())
}

/// The C library that a program needs.
fn libc(elf: &Elf) -> &'static str {
    let name = elf.interpreter.as_deref().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    if name.starts_with("ld-musl-") { "musl" } else { "glibc" }
}

/// The packages that may have the libraries that the programs need, as requests for the plan's base.
fn candidates(
    plan: &Plan,
    platform: &Platform,
    programs: &Programs,
    fetcher: &Fetcher,
) -> Result<Vec<String>, BuildError> {
    let own: Vec<&str> = programs.files.keys().map(|path| path.rsplit('/').next().unwrap_or_default()).collect();
    let needed = programs.files.values().flat_map(|elf| &elf.needed).map(String::as_str);
    packages_with(plan, platform, needed.filter(|name| !own.contains(name)), fetcher)
}

/// The packages that may have the libraries of these names, as requests for the plan's base.
fn packages_with<'n>(
    plan: &Plan,
    platform: &Platform,
    names: impl Iterator<Item = &'n str>,
    fetcher: &Fetcher,
) -> Result<Vec<String>, BuildError> {
    let mut names: Vec<&str> = names.filter(|name| is_plain(name)).collect();
    names.sort_unstable();
    names.dedup();
    match &plan.wanted {
        Wanted::Alpine(_) => Ok(names.iter().map(|name| format!("so:{name}")).collect()),
        Wanted::Debian(wanted) => {
            let called: Vec<String> = names.iter().flat_map(|name| packages_of(name)).collect();
            Ok(lock::debian::known(wanted, platform, &called, fetcher)?)
        }
    }
}

/// The error of libraries that what a step installed lacks, with the packages that have them.
pub(super) fn lacks(missing: ClosureError, plan: &Plan, platform: &Platform, fetcher: &Fetcher) -> BuildError {
    let names = missing.missing.iter().map(|missing| missing.library.as_str());
    // Without a package to name, the message still says which library is missing.
    let packages = packages_with(plan, platform, names, fetcher).unwrap_or_default();
    LinkError::Lacks { missing, packages }.into()
}

/// Whether a library's name is plain. It becomes a part of a package request, where other characters mean versions,
/// tags and paths.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}

/// The possible names of a library's package in Debian: `libfoo.so.1` is in libfoo1, `libfoo2.so.1` in libfoo2-1,
/// `libfoo-3.so` in libfoo-3 (policy 8.1); since 2024 some end in t64. A few that every program needs have other names.
fn packages_of(library: &str) -> Vec<String> {
    /// The libraries of GLib, which have one package.
    const GLIB: [&str; 5] = ["libglib-2.0.", "libgthread-2.0.", "libgobject-2.0.", "libgio-2.0.", "libgmodule-2.0."];
    let known = match library {
        "libz.so.1" => Some("zlib1g"),
        "libbz2.so.1.0" => Some("libbz2-1.0"),
        name if GLIB.iter().any(|start| name.starts_with(start)) => {
            return ["libglib2.0-0t64", "libglib2.0-0"].map(str::to_owned).into();
        }
        name if ["libc.", "libm.", "libdl.", "libpthread.", "librt.", "libresolv.", "libutil.", "ld-"]
            .iter()
            .any(|start| name.starts_with(start)) =>
        {
            Some("libc6")
        }
        _ => None,
    };
    if let Some(known) = known {
        return vec![known.to_owned()];
    }
    let Some((name, version)) = library.split_once(".so") else { return Vec::new() };
    let version = version.trim_start_matches('.');
    let name = name.to_lowercase().replace('_', "-");
    let dash = if name.ends_with(|c: char| c.is_ascii_digit()) && !version.is_empty() { "-" } else { "" };
    let package = format!("{name}{dash}{version}");
    vec![format!("{package}t64"), package]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_become_wishes() {
        for name in ["libc.so.6", "libstdc++.so.6", "ld-linux-x86-64.so.2", "libGL_x.so"] {
            assert!(is_plain(name), "{name}");
        }
        for name in
            ["", "libx.so@edge", "libx.so<1", "libx.so !musl", "../libx.so", "/etc/shadow", "lib\nx.so", "$ORIGIN"]
        {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn debian_calls_packages_after_their_libraries() {
        for (library, package) in [
            ("libc.so.6", "libc6"),
            ("libstdc++.so.6", "libstdc++6"),
            ("libgcc_s.so.1", "libgcc-s1"),
            ("libssl.so.3", "libssl3"),
            ("libz.so.1", "zlib1g"),
            ("libpcre2-8.so.0", "libpcre2-8-0"),
            ("libevent-2.1.so.7", "libevent-2.1-7"),
            ("libsqlite3.so.0", "libsqlite3-0"),
            ("libgthread-2.0.so.0", "libglib2.0-0"),
            ("libGL.so.1", "libgl1"),
            ("libpq.so.5", "libpq5"),
            ("libopcodes-2.40-system.so", "libopcodes-2.40-system"),
        ] {
            assert_eq!(packages_of(library).pop().as_deref(), Some(package), "{library}");
        }
    }

    #[test]
    fn programs_that_do_not_fit_fail_the_build() {
        let platform = host_platform();
        for error in [
            LinkError::Processor { platform: platform.clone(), file: "app".into() },
            LinkError::Foreign { host: platform.clone(), platform, file: "app".into() },
        ] {
            assert_eq!(error.kind(), Kind::Build, "{error}");
        }
    }
}
