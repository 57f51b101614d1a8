//! All packages by name, and what they say of each other.

use std::{
    cell::OnceCell,
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use super::{PackageRequest, Repository};
use crate::deb::{
    dependency::{Alternatives, Dependency, Provide, mentions},
    record::{MultiArch, Record},
    version::Version,
};

/// A place in [`Universe::names`].
pub(super) type NameId = usize;
/// A place in [`Universe::versions`].
pub(super) type VersionId = usize;

/// See the module's documentation.
pub(super) struct Universe<'a> {
    pub(super) names: Vec<Name<'a>>,
    pub(super) versions: Vec<Found<'a>>,
    repositories: &'a [Repository],
    architecture: &'a str,
    by_name: HashMap<&'a str, NameId>,
    dropped: Dropped<'a>,
    /// Per name: the place of its first mention in the indexes.
    mentions: OnceCell<HashMap<&'a str, usize>>,
}

/// A name that packages bear or provide.
#[derive(Default)]
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    /// The versions of the package of that name, the candidate first.
    pub(super) versions: Vec<VersionId>,
    /// The packages that provide the name.
    pub(super) providers: Vec<(VersionId, Option<Version>)>,
}

/// A version of a package.
pub(super) struct Found<'a> {
    pub(super) name: NameId,
    pub(super) record: &'a Record,
    /// The place of its repository.
    pub(super) repository: usize,
    rules: OnceCell<Rules>,
}

/// What a version demands.
#[derive(Default)]
pub(super) struct Rules {
    /// What it needs, without what is dropped.
    pub(super) depends: Vec<Alternatives>,
    /// What it excludes.
    pub(super) excludes: Vec<Dependency>,
    /// Why it cannot be installed at all.
    pub(super) broken: Option<String>,
}

/// A request, and the versions that meet it, the best first.
pub(super) struct Want<'a> {
    pub(super) request: &'a PackageRequest,
    pub(super) versions: Vec<VersionId>,
}

/// Packages that are knowingly left out, with the versions and provided names that they would have had.
#[derive(Default)]
struct Dropped<'a> {
    names: BTreeSet<String>,
    provided: Vec<(&'a str, Option<Version>)>,
}

impl Dropped<'_> {
    fn meets(&self, dependency: &Dependency) -> bool {
        self.names.contains(&dependency.name)
            || self
                .provided
                .iter()
                .any(|(name, version)| *name == dependency.name && dependency.accepts(version.as_ref()))
    }
}

impl<'a> Universe<'a> {
    pub(super) fn new(repositories: &'a [Repository], architecture: &'a str, dropped: &[String]) -> Self {
        let count = repositories.iter().map(|repository| repository.index.records.len()).sum();
        let mut universe = Self {
            names: Vec::with_capacity(count),
            versions: Vec::with_capacity(count),
            repositories,
            architecture,
            by_name: HashMap::with_capacity(count),
            dropped: Dropped { names: dropped.iter().cloned().collect(), ..Dropped::default() },
            mentions: OnceCell::new(),
        };
        for (repository, Repository { index, .. }) in repositories.iter().enumerate() {
            for record in
                index.records.iter().filter(|r| matches!(r.architecture(), "all") || r.architecture() == architecture)
            {
                universe.add(repository, record);
            }
        }
        universe.rank();
        universe
    }

    fn name(&mut self, text: &'a str) -> NameId {
        *self.by_name.entry(text).or_insert_with(|| {
            self.names.push(Name { text, ..Name::default() });
            self.names.len() - 1
        })
    }

    fn add(&mut self, repository: usize, record: &'a Record) {
        let name = self.name(record.name());
        // The same package in a second suite.
        let known = |&v: &VersionId| self.versions[v].record.sha256() == record.sha256();
        if self.names[name].versions.iter().any(known) {
            return;
        }
        let version = self.versions.len();
        self.names[name].versions.push(version);
        let dropped = self.dropped.names.contains(record.name());
        for Provide { name: provided, version: provided_version } in record.provides() {
            if dropped {
                self.dropped.provided.push((provided, provided_version.clone()));
            }
            if provided == record.name() && provided_version.as_ref().is_none_or(|v| v == record.version()) {
                continue;
            }
            let id = self.name(provided);
            self.names[id].providers.push((version, provided_version));
        }
        self.versions.push(Found { name, record, repository, rules: OnceCell::new() });
    }

    /// Puts the candidate of each name first.
    fn rank(&mut self) {
        let (versions, repositories) = (&self.versions, self.repositories);
        for name in &mut self.names {
            name.versions.sort_by_key(|&v| {
                let found = &versions[v];
                (Reverse(repositories[found.repository].priority), Reverse(found.record.version()), v)
            });
        }
    }

    /// The name of that text, when any package bears or provides it.
    pub(super) fn find(&self, text: &str) -> Option<&Name<'a>> {
        self.by_name.get(text).map(|&id| &self.names[id])
    }

    /// The requests, each with the versions that meet it.
    pub(super) fn wants(&self, world: &'a [PackageRequest]) -> Vec<Want<'a>> {
        let versions = |request: &PackageRequest| -> Vec<VersionId> {
            let Some(name) = self.find(&request.name) else { return Vec::new() };
            if !name.versions.is_empty() {
                let accepts =
                    |&&v: &&VersionId| request.version.as_ref().is_none_or(|w| w == self.versions[v].record.version());
                return name.versions.iter().filter(accepts).copied().collect();
            }
            // As apt: a name that one package only provides stands for that package's candidate. Versions that are no
            // candidates count neither for what they provide nor for what they do not.
            let providers: BTreeSet<VersionId> = self.providers(name).collect();
            if providers.len() == 1 && request.version.is_none() { providers.into_iter().collect() } else { Vec::new() }
        };
        world.iter().map(|request| Want { request, versions: versions(request) }).collect()
    }

    /// The candidates that provide the name.
    pub(super) fn providers(&self, name: &Name<'a>) -> impl Iterator<Item = VersionId> {
        name.providers.iter().map(|(version, _)| *version).filter(|&version| self.is_candidate(version))
    }

    /// Whether the version is the one that apt would choose among those of its package.
    pub(super) fn is_candidate(&self, version: VersionId) -> bool {
        self.names[self.versions[version].name].versions.first() == Some(&version)
    }

    /// What a version demands.
    pub(super) fn rules(&self, version: VersionId) -> &Rules {
        let found = &self.versions[version];
        found.rules.get_or_init(|| {
            let (depends, conflicts) = match (found.record.depends(), found.record.conflicts()) {
                (Ok(depends), Ok(conflicts)) => (depends, conflicts),
                (Err(e), _) | (_, Err(e)) => {
                    return Rules { broken: Some(e.to_string()), ..Rules::default() };
                }
            };
            let needed = |group: &Alternatives| !group.iter().any(|dependency| self.dropped.meets(dependency));
            Rules {
                depends: depends.into_iter().filter(needed).collect(),
                excludes: conflicts.iter().flat_map(Alternatives::iter).cloned().collect(),
                broken: None,
            }
        })
    }

    /// All versions of packages that meet the dependency: those of the name itself, then those that provide it, in the
    /// order of the indexes.
    pub(super) fn matching(&self, dependency: &Dependency) -> impl Iterator<Item = VersionId> {
        let name = self.find(&dependency.name);
        let own = name.into_iter().flat_map(|name| &name.versions).copied();
        let own = own.filter(|&v| dependency.accepts(Some(self.versions[v].record.version())));
        let provided = name.into_iter().flat_map(|name| &name.providers);
        let provided = provided.filter(|(_, version)| dependency.accepts(version.as_ref())).map(|(v, _)| *v);
        own.chain(provided).filter(|&v| self.qualifies(dependency, v))
    }

    /// Whether the package is of the architecture that the dependency asks for.
    fn qualifies(&self, dependency: &Dependency, version: VersionId) -> bool {
        match dependency.qualifier.as_deref() {
            None | Some("native") => true,
            Some("any") => self.versions[version].record.multi_arch() == MultiArch::Allowed,
            Some(architecture) => architecture == self.architecture,
        }
    }

    /// The versions that `version` must not stand beside because of the dependency that it excludes.
    pub(super) fn excluded(&self, version: VersionId, dependency: &Dependency) -> impl Iterator<Item = VersionId> {
        let name = self.versions[version].name;
        self.matching(dependency).filter(move |&other| self.versions[other].name != name)
    }

    /// The selected packages that meet one of the alternatives.
    pub(super) fn meeting(&self, group: &Alternatives, selected: &[Option<VersionId>]) -> Vec<VersionId> {
        let mut meeting = Vec::new();
        for version in group.iter().flat_map(|dependency| self.matching(dependency)) {
            if selected[self.versions[version].name] == Some(version) && !meeting.contains(&version) {
                meeting.push(version);
            }
        }
        meeting
    }

    /// Sorts versions that meet the dependency as apt prefers them.
    pub(super) fn sort(&self, dependency: &Dependency, versions: &mut [VersionId], protected: impl Fn(NameId) -> bool) {
        let key = |v: VersionId| {
            let Found { name, record, .. } = &self.versions[v];
            // What one version says of itself counts for the package, and apt is sure of its own worth.
            let any = |says: fn(&Record) -> bool| {
                let mut versions = self.names[*name].versions.iter();
                record.name() == "apt" || versions.any(|&version| says(self.versions[version].record))
            };
            (
                !protected(*name),
                record.name() != dependency.name,
                !any(Record::essential),
                !any(Record::protected),
                record.priority(),
            )
        };
        let mention = |v: VersionId| Reverse(self.mention(self.names[self.versions[v].name].text));
        versions.sort_by(|&a, &b| key(a).cmp(&key(b)).then_with(|| mention(a).cmp(&mention(b))));
    }

    /// The place of the first mention of a name; apt numbers packages so.
    fn mention(&self, name: &str) -> usize {
        let mentions = self.mentions.get_or_init(|| {
            let mut first = HashMap::with_capacity(self.names.len() * 2);
            for Found { record, .. } in &self.versions {
                let named = record.mentions().into_iter().flat_map(mentions).map(|(name, _)| name);
                for text in std::iter::once(record.name()).chain(named) {
                    let place = first.len();
                    first.entry(text).or_insert(place);
                }
            }
            first
        });
        mentions.get(name).copied().unwrap_or(usize::MAX)
    }
}
