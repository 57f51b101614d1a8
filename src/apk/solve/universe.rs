//! All packages of some repositories, and who provides which name.

use std::collections::HashMap;

use super::Repository;
use crate::apk::{dependency::Dependency, index::Record, version::Version};

/// The place of a name in [`Universe::names`].
pub(super) type NameId = usize;
/// The place of a package in [`Universe::packages`].
pub(super) type PackageId = usize;

/// A package, which several repositories may offer.
pub(super) struct Package<'a> {
    pub(super) record: &'a Record,
    pub(super) name: NameId,
    /// The repositories that offer this very package, the first of them first.
    pub(super) repositories: Vec<usize>,
    /// What it depends on, with the place of the name.
    pub(super) depends: Vec<Edge<'a>>,
    pub(super) install_if: Vec<Edge<'a>>,
    /// Every name that it provides, except its own.
    pub(super) provides: Vec<(NameId, Option<&'a Version>)>,
    /// The tags of its repositories.
    pub(super) tags: Tags,
    /// Why it can never be installed.
    pub(super) broken: Option<String>,
}

/// A set of repositories' tags; the first bit stands for having none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tags(u64);

impl Tags {
    pub(super) const NONE: Self = Self(0);
    pub(super) const UNTAGGED: Self = Self(1);
}

impl std::ops::BitOr for Tags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Tags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::ops::BitAnd for Tags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl<'a> Package<'a> {
    /// Own name and provided names, with their versions.
    pub(super) fn names(&self) -> impl Iterator<Item = (NameId, Option<&'a Version>)> + '_ {
        std::iter::once((self.name, Some(&self.record.version))).chain(self.provides.iter().copied())
    }
}

/// A dependency and the place of the name in it.
#[derive(Clone, Copy)]
pub(super) struct Edge<'a> {
    pub(super) name: NameId,
    pub(super) dependency: &'a Dependency,
}

/// A package that has a name.
#[derive(Clone, Copy)]
pub(super) struct Provider<'a> {
    pub(super) package: PackageId,
    /// `None`: the name comes without a version.
    pub(super) version: Option<&'a Version>,
}

/// A name, and who has it.
pub(super) struct Name<'a> {
    pub(super) text: &'a str,
    /// In the order of the repositories and of their indexes.
    pub(super) providers: Vec<Provider<'a>>,
    /// The packages that have this name in their `install_if`.
    pub(super) triggers: Vec<PackageId>,
}

/// See the module.
pub(super) struct Universe<'a> {
    pub(super) packages: Vec<Package<'a>>,
    pub(super) names: Vec<Name<'a>>,
    ids: HashMap<&'a str, NameId>,
    /// The tags that there are; one's place is its bit in [`Tags`], counted from 1.
    tags: Vec<&'a str>,
}

impl<'a> Universe<'a> {
    /// Everything that `repositories` offer. Dependencies on names in `ignored` are left out.
    pub(super) fn new(repositories: &'a [Repository], ignored: &[String]) -> Self {
        let records = repositories.iter().map(|repository| repository.index.records.len()).sum();
        let mut universe = Self {
            packages: Vec::with_capacity(records),
            names: Vec::with_capacity(records * 4),
            ids: HashMap::with_capacity(records * 4),
            tags: Vec::new(),
        };
        for (number, repository) in repositories.iter().enumerate() {
            if let Some(tag) = repository.tag.as_deref()
                && !universe.tags.contains(&tag)
            {
                universe.tags.push(tag);
            }
            for record in &repository.index.records {
                universe.add(number, repository, record, ignored);
            }
        }
        universe
    }

    fn add(&mut self, number: usize, repository: &Repository, record: &'a Record, ignored: &[String]) {
        let tags = repository.tag.as_deref().map_or(Tags::UNTAGGED, |tag| self.tag(tag));
        let name = self.intern(&record.name);
        let same = self.names[name].providers.iter().map(|provider| provider.package).find(|&package| {
            let known = self.packages[package].record;
            known.name == record.name && known.checksum == record.checksum && known.version == record.version
        });
        if let Some(same) = same {
            let same = &mut self.packages[same];
            same.repositories.push(number);
            same.tags |= tags;
            return;
        }
        let id = self.packages.len();
        let provides: Vec<_> = record.provides.iter().map(|p| (self.intern(&p.name), p.version.as_ref())).collect();
        let mut edges = |list: &'a [Dependency]| -> Vec<Edge<'a>> {
            let kept = list.iter().filter(|dependency| !ignored.contains(&dependency.name));
            kept.map(|dependency| Edge { name: self.intern(&dependency.name), dependency }).collect()
        };
        let (depends, install_if) = (edges(&record.depends), edges(&record.install_if));
        let mut package =
            Package { tags, broken: None, repositories: vec![number], record, name, depends, install_if, provides };
        package.broken = broken(&package, &repository.arch);
        for (name, version) in package.names() {
            let providers = &mut self.names[name].providers;
            // A package that provides a name twice is one provider, or broken.
            if providers.last().is_none_or(|last| last.package != id) {
                providers.push(Provider { package: id, version });
            }
        }
        for edge in &package.install_if {
            let triggers = &mut self.names[edge.name].triggers;
            if !edge.dependency.conflict && triggers.last() != Some(&id) {
                triggers.push(id);
            }
        }
        self.packages.push(package);
    }

    fn intern(&mut self, text: &'a str) -> NameId {
        *self.ids.entry(text).or_insert_with(|| {
            self.names.push(Name { text, providers: Vec::new(), triggers: Vec::new() });
            self.names.len() - 1
        })
    }

    /// The set of that tag alone; empty when no repository has it.
    pub(super) fn tag(&self, tag: &str) -> Tags {
        let place = (1..).zip(&self.tags).find(|(_, known)| **known == tag);
        place.map_or(Tags::NONE, |(place, _)| Tags(1_u64.checked_shl(place).unwrap_or(0)))
    }

    /// The tags that there are.
    pub(super) fn tags(&self) -> &[&'a str] {
        &self.tags
    }

    /// The place of a name that the world requests for, which may be one that no package has.
    pub(super) fn request(&mut self, dependency: &'a Dependency) -> Edge<'a> {
        Edge { name: self.intern(&dependency.name), dependency }
    }

    /// A tag of a repository that offers the package.
    pub(super) fn tag_of(&self, package: &Package<'_>) -> Option<&'a str> {
        self.tags.iter().copied().find(|tag| package.tags & self.tag(tag) != Tags::NONE)
    }

    /// The names that the world may need, those first on which others depend (a depth-first walk's post-order).
    pub(super) fn reach(&self, world: &[Edge<'_>]) -> Vec<NameId> {
        let mut seen = vec![false; self.names.len()];
        let mut finished = Vec::new();
        // An explicit stack: chains of dependencies may be longer than the thread's stack allows.
        let mut stack: Vec<(NameId, std::vec::IntoIter<NameId>)> = Vec::new();
        for root in world {
            if !std::mem::replace(&mut seen[root.name], true) {
                stack.push((root.name, self.neighbours(root.name).into_iter()));
            }
            while let Some((name, neighbours)) = stack.last_mut() {
                match neighbours.next() {
                    None => {
                        finished.push(*name);
                        stack.pop();
                    }
                    Some(next) => {
                        if !std::mem::replace(&mut seen[next], true) {
                            stack.push((next, self.neighbours(next).into_iter()));
                        }
                    }
                }
            }
        }
        finished
    }

    /// The names that a choice for `name` may involve.
    fn neighbours(&self, name: NameId) -> Vec<NameId> {
        let mut neighbours = Vec::new();
        for provider in &self.names[name].providers {
            let package = &self.packages[provider.package];
            neighbours.extend(package.depends.iter().map(|edge| edge.name));
            neighbours.extend(package.provides.iter().map(|&(provided, _)| provided));
            neighbours.extend(package.install_if.iter().map(|edge| edge.name));
            for (name, _) in package.names() {
                neighbours.extend(self.names[name].triggers.iter().map(|&triggered| self.packages[triggered].name));
            }
        }
        neighbours
    }

    /// Whether all of the package's `install_if` are met by the selected packages.
    pub(super) fn triggered(&self, package: PackageId, selected: &[bool]) -> bool {
        let install_if = &self.packages[package].install_if;
        !install_if.is_empty()
            && install_if.iter().all(|edge| {
                let mut providers = self.names[edge.name].providers.iter();
                let met = providers.any(|p| selected[p.package] && self.accepts(edge.dependency, *p));
                met != edge.dependency.conflict
            })
    }

    /// Whether the provider's version (or checksum) is one that the dependency accepts, conflict or not.
    pub(super) fn accepts(&self, dependency: &Dependency, provider: Provider<'_>) -> bool {
        dependency.accepts(provider.version, &self.packages[provider.package].record.checksum)
    }

    /// Whether `package` may be installed as far as the dependency on a name that it has is concerned: it has to match,
    /// or has to differ when the dependency is a conflict.
    pub(super) fn agrees(&self, edge: Edge<'_>, provider: Provider<'_>) -> bool {
        self.accepts(edge.dependency, provider) != edge.dependency.conflict
    }
}

/// Why the package can never be installed, if so.
fn broken(package: &Package<'_>, arch: &str) -> Option<String> {
    let record = package.record;
    if let Some(reason) = &record.broken {
        return Some(reason.clone());
    }
    if !record.arch.is_empty() && record.arch != "noarch" && record.arch != arch {
        return Some(format!("it is for {}, not for {arch}", record.arch));
    }
    // A package that provides a name with a version excludes all others that provide it, even another version of
    // itself.
    let mut names: Vec<_> = package.names().collect();
    names.sort_by_key(|&(name, _)| name);
    let twice = names.windows(2).find(|pair| pair[0].0 == pair[1].0 && pair.iter().any(|name| name.1.is_some()));
    twice.map(|pair| {
        let name = record.provides.iter().zip(&package.provides).find(|(_, id)| id.0 == pair[0].0);
        format!("it provides {} twice", name.map_or("a name", |(provide, _)| &provide.name))
    })
}
