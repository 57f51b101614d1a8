//! Sources and packages of Debian and Ubuntu.

use std::path::PathBuf;

use super::{PlanError, architecture_of};
use crate::{
    deb::{
        key::{KeyError, KeyRing},
        solve::PackageRequest,
        sources::{self, Keys, Source, Sources, SourcesError},
    },
    host::Host,
    image::Platform,
    location::Location,
    request::Request,
    values::Suite,
};

/// The default suite, when neither the user nor the machine's apt sources name one: Debian's stable release.
const DEFAULT_SUITE: &str = "trixie";
/// The components of a mirror that are searched for packages. `universe` is Ubuntu's, and skipped where it does not
/// exist.
const COMPONENTS: [&str; 2] = ["main", "universe"];

/// The sources of packages, and the requested packages.
#[derive(Debug, Clone)]
pub struct DebianWanted {
    /// The release: `bookworm`.
    pub suite: Suite,
    /// The requested packages.
    pub world: Vec<PackageRequest>,
    /// How many of these, from the first, are those of the recipe's runtime. The recipe's `drop` and `strip` apply to
    /// them.
    pub own: usize,
    origin: Upstream,
    further: Vec<Source>,
    keys: Vec<PathBuf>,
    /// The machine whose keys are trusted and whose programs check signatures.
    pub host: Host,
}

#[derive(Debug, Clone)]
enum Upstream {
    Machine(Sources),
    Mirror(Location),
}

/// Go's platforms and dpkg's names for their architectures.
const PLATFORMS: [(&str, &str); 10] = [
    ("linux/386", "i386"),
    ("linux/amd64", "amd64"),
    ("linux/arm/v5", "armel"),
    ("linux/arm/v7", "armhf"),
    ("linux/arm64", "arm64"),
    ("linux/loong64", "loong64"),
    ("linux/mips64le", "mips64el"),
    ("linux/ppc64le", "ppc64el"),
    ("linux/riscv64", "riscv64"),
    ("linux/s390x", "s390x"),
];

/// Returns dpkg's name for the architecture of `platform`.
///
/// # Errors
/// When Debian has none.
pub fn architecture(platform: &Platform) -> Result<&'static str, PlanError> {
    architecture_of(platform, "Debian", &PLATFORMS)
}

/// The release of this machine's own apt sources, when packages can be fetched from some.
pub fn own_suite(host: &Host) -> Option<Suite> {
    let sources = Sources::of_machine(host.root()).ok()?;
    sources.own_release().ok()?.parse().ok()
}

impl DebianWanted {
    /// Reads the packages `asked` for; the first `own_requests` are the recipe's runtime. They come from the mirror
    /// that the request names, or else from this machine's own apt sources; of `suite`, or else of the machine's own
    /// release.
    ///
    /// # Errors
    /// When a package or a repository cannot be read, or when this machine has no apt sources.
    pub fn new(
        request: &Request,
        suite: Option<&Suite>,
        asked: &[String],
        own_requests: usize,
    ) -> Result<Self, PlanError> {
        let world = asked.iter().map(|package| package.parse()).collect::<Result<_, _>>()?;
        let (origin, own) = match &request.mirror {
            Some(mirror) => (Upstream::Mirror(Location::new(mirror)), own_suite(&request.host)),
            None => {
                let sources = Sources::of_machine(request.host.root())?;
                let own = sources.own_release()?.parse().ok();
                (Upstream::Machine(sources), own)
            }
        };
        let suite = suite.cloned().or(own).unwrap_or_else(|| Suite(DEFAULT_SUITE.to_owned()));
        let further = request.repositories.iter().map(|line| {
            let line = if line.trim_start().starts_with("deb ") { line.clone() } else { format!("deb {line}") };
            sources::parse_list(&line, "--repository")
        });
        let further = further.collect::<Result<Vec<_>, _>>()?.concat();
        Ok(Self {
            suite,
            world,
            own: own_requests,
            origin,
            further,
            keys: request.keys.clone(),
            host: request.host.clone(),
        })
    }

    /// `debian` or `ubuntu`, when the machine's own sources are used. A suite of another archive is skipped.
    pub fn distribution(&self) -> Option<&str> {
        match &self.origin {
            Upstream::Machine(sources) => Some(&sources.distribution),
            Upstream::Mirror(_) => None,
        }
    }

    /// The sources of the release for an architecture, and how many of them are the distribution's own. Those come
    /// first.
    ///
    /// # Errors
    /// When there are none.
    pub fn sources(&self, arch: &str) -> Result<(Vec<Source>, usize), SourcesError> {
        let mut sources = match &self.origin {
            Upstream::Machine(sources) => sources.family(&self.suite.0, arch)?,
            Upstream::Mirror(mirror) => Sources::of_mirror(mirror, &self.suite.0, &COMPONENTS, &Keys::Default),
        };
        let own = sources.len();
        sources.extend(self.further.iter().filter(|source| source.serves(arch)).cloned());
        Ok((sources, own))
    }

    /// The trusted keys for a source: those that the request names, and those that the source names, or else those that
    /// this machine trusts.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn keys(&self, source: &Source) -> Result<KeyRing, KeyError> {
        let distribution = self.distribution().unwrap_or("debian");
        let machine = source.keys.ring(self.host.root(), distribution);
        // When the user names keys, the distribution's own may be missing on this machine.
        let machine = if self.keys.is_empty() { machine? } else { machine.unwrap_or_default() };
        // Messages name the first few.
        let mut ring = KeyRing::new();
        self.keys.iter().try_for_each(|path| ring.add_path(path))?;
        ring.extend(machine);
        Ok(ring)
    }
}
