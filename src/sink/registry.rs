//! The sink that is a registry: sends what the registry lacks and nothing else, blobs in parallel, manifests last.
//!
//! The first request asks what lies under the tag. When that is the artifact already, nothing more is sent. Otherwise each blob
//! is asked for by HEAD, mounted from a repository that is known to have it, or uploaded; then the manifests follow, an index
//! after the manifests that it names, so that nobody ever pulls a tag whose parts are missing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    digest::Digest,
    image::{Artifact, Document},
    registry::{Blob, Reference, Registry, RegistryError, Scope, Uploaded},
    store::Store,
    ui::{Ui, size},
};

/// How many blobs are on their way at once.
const PARALLEL: usize = 6;

/// Which repositories of a registry hold a blob: the memo's bucket, and how many are remembered.
const MEMO: &str = "registry-blobs-v1";
const REMEMBERED: usize = 4;

/// What became of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its bytes were sent.
    Pushed,
    /// The repository had it.
    Existed,
    /// The registry had it in this other repository.
    Mounted(String),
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedLayer {
    /// The layer's title.
    pub title: String,
    /// Its digest.
    pub digest: Digest,
    /// Its compressed length in bytes.
    pub size: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a push did in one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushReport {
    /// The references that now name the artifact, each with its digest.
    pub references: Vec<Reference>,
    /// Whether all of them named it before, so that nothing was sent at all.
    pub unchanged: bool,
    /// The layers of all images, each once, in the order of the images.
    pub layers: Vec<PushedLayer>,
}

impl PushReport {
    /// The bytes of layers that were sent.
    pub fn sent(&self) -> u64 {
        self.layers.iter().filter(|layer| layer.outcome == Outcome::Pushed).map(|layer| layer.size).sum()
    }
}

/// Pushes `artifact` to each of `references`; one report for each repository among them, in the order of their first mention.
/// `connect` gives the client of a registry by its name; `store` remembers for the next push which repositories hold which blobs.
///
/// # Errors
/// When a registry cannot be reached or refuses, a layer cannot be read, or a reference names another digest than the artifact's.
pub fn push(
    connect: &dyn Fn(&str) -> Registry,
    store: Option<&Store>,
    references: &[Reference],
    artifact: &Artifact,
    ui: &Ui,
) -> Result<Vec<PushReport>, RegistryError> {
    let digest = artifact.root().digest;
    for reference in references {
        if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
            return Err(RegistryError::Digest {
                what: format!("the image to be pushed to {reference}"),
                registry: "this build".into(),
                expected: *expected,
                found: digest.to_string(),
            });
        }
    }
    let mut clients: BTreeMap<&str, Registry> = BTreeMap::new();
    let mut reports = Vec::new();
    for (registry, repository, tags) in by_repository(references) {
        let client = clients.entry(registry).or_insert_with(|| connect(registry));
        let push = Push { client, store, repository, artifact, ui, scope: Scope::push(repository) };
        reports.push(push.run(&tags)?);
    }
    Ok(reports)
}

/// The references by registry and repository, in the order of their first mention, each once.
fn by_repository(references: &[Reference]) -> Vec<(&str, &str, Vec<&Reference>)> {
    let mut groups: Vec<(&str, &str, Vec<&Reference>)> = Vec::new();
    for reference in references {
        let same = |group: &&mut (&str, &str, Vec<&Reference>)| {
            group.0 == reference.registry() && group.1 == reference.repository()
        };
        match groups.iter_mut().find(same) {
            Some((_, _, tags)) if tags.iter().any(|tag| tag.tag() == reference.tag()) => {}
            Some((_, _, tags)) => tags.push(reference),
            None => groups.push((reference.registry(), reference.repository(), vec![reference])),
        }
    }
    groups
}

/// A push into one repository.
struct Push<'a> {
    client: &'a Registry,
    store: Option<&'a Store>,
    repository: &'a str,
    artifact: &'a Artifact,
    ui: &'a Ui,
    scope: Scope,
}

/// A blob of the artifact: a layer's, or a configuration's, which has no layer's title.
struct Item {
    blob: Blob,
    title: String,
    is_layer: bool,
}

impl Push<'_> {
    fn run(&self, references: &[&Reference]) -> Result<PushReport, RegistryError> {
        let root = self.artifact.root();
        let there = self.tags_there(references, root)?;
        let items = self.items();
        let outcomes = if there.iter().any(|there| *there) {
            // A registry keeps no manifest whose parts it lacks.
            vec![Outcome::Existed; items.len()]
        } else {
            let outcomes = self.blobs(&items)?;
            for image in self.artifact.images.iter().filter(|_| self.artifact.index.is_some()) {
                let manifest = &image.manifest;
                self.client.put_manifest(self.repository, &manifest.digest.to_string(), manifest)?;
            }
            outcomes
        };
        for (reference, _) in references.iter().zip(&there).filter(|(_, there)| !**there) {
            self.client.put_manifest(self.repository, &name_of(reference, root), root)?;
        }
        let unchanged = there.iter().all(|there| *there);
        if unchanged {
            self.ui.detail(&format!("{}/{} is up to date", self.client.name(), self.repository));
        }
        let layers = items.into_iter().zip(outcomes).filter(|(item, _)| item.is_layer);
        Ok(PushReport {
            references: references.iter().map(|reference| reference.with_digest(root.digest)).collect(),
            unchanged,
            layers: layers
                .map(|(Item { blob, title, .. }, outcome)| PushedLayer {
                    title,
                    digest: blob.digest,
                    size: blob.size,
                    outcome,
                })
                .collect(),
        })
    }

    /// Which of the references name `root` already.
    fn tags_there(&self, references: &[&Reference], root: &Document) -> Result<Vec<bool>, RegistryError> {
        parallel(references, |reference| {
            let found = self.client.find_manifest(self.repository, &name_of(reference, root), &self.scope)?;
            Ok(found.and_then(|found| found.digest) == Some(root.digest))
        })
    }

    /// The blobs of all images, each once.
    fn items(&self) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        let mut add = |item: Item| {
            if items.iter().all(|other| other.blob.digest != item.blob.digest) {
                items.push(item);
            }
        };
        for image in &self.artifact.images {
            for layer in &image.layers {
                add(Item { blob: layer.into(), title: layer.title.clone(), is_layer: true });
            }
            let config = &image.config;
            let content = Arc::new(config.bytes.clone());
            let blob = Blob { digest: config.digest, size: config.bytes.len() as u64, content };
            add(Item { blob, title: "configuration".into(), is_layer: false });
        }
        items
    }

    fn blobs(&self, items: &[Item]) -> Result<Vec<Outcome>, RegistryError> {
        // The longest first, so that no long one is begun when all the others are through.
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(items[*index].blob.size));
        let done = parallel(&order, |index| self.blob(&items[*index]).map(|outcome| (*index, outcome)))?;
        let by_index: BTreeMap<usize, Outcome> = done.into_iter().collect();
        Ok(by_index.into_values().collect())
    }

    fn blob(&self, item: &Item) -> Result<Outcome, RegistryError> {
        let Item { blob, title, is_layer } = item;
        let outcome = if self.client.has_blob(self.repository, &blob.digest, &self.scope)? {
            Outcome::Existed
        } else {
            let mount = self.holders(&blob.digest).into_iter().find(|repository| repository != self.repository);
            let task = Arc::new(self.ui.task(title, Some(blob.size)));
            match self.client.upload(self.repository, blob, mount.as_deref(), &task)? {
                Uploaded::Sent => Outcome::Pushed,
                Uploaded::Mounted(from) => Outcome::Mounted(from),
            }
        };
        self.ui.detail(&match &outcome {
            Outcome::Pushed => format!("{title}: {} sent", size(blob.size)),
            Outcome::Existed => format!("{title}: there already"),
            Outcome::Mounted(from) => format!("{title}: mounted from {from}"),
        });
        if *is_layer {
            self.remember(&blob.digest);
        }
        Ok(outcome)
    }

    fn memo_key(&self, digest: &Digest) -> Digest {
        Digest::of(format!("{}\n{digest}", self.client.name()))
    }

    /// The repositories of this registry that had the blob when this program was last there, the latest first.
    fn holders(&self, digest: &Digest) -> Vec<String> {
        self.store.and_then(|store| store.recall(MEMO, &self.memo_key(digest))).unwrap_or_default()
    }

    fn remember(&self, digest: &Digest) {
        let Some(store) = self.store else { return };
        let mut holders = self.holders(digest);
        if holders.iter().any(|repository| repository == self.repository) {
            return;
        }
        holders.insert(0, self.repository.to_owned());
        holders.truncate(REMEMBERED);
        if let Err(error) = store.remember(MEMO, &self.memo_key(digest), &holders) {
            self.ui.detail(&format!("not remembered for the next push: {error}"));
        }
    }
}

/// The tag or digest under which `root` is put.
fn name_of(reference: &Reference, root: &Document) -> String {
    reference.tag().map_or_else(|| root.digest.to_string(), str::to_owned)
}

/// `work` on all items by a few threads; the results in the items' order. After an error no further item is begun.
fn parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, RegistryError> + Sync,
) -> Result<Vec<R>, RegistryError> {
    if let [item] = items {
        return Ok(vec![work(item)?]);
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let done = Mutex::new(BTreeMap::new());
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..items.len().min(PARALLEL) {
            scope.spawn(worker);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_grouped_by_repository() {
        let references: Vec<Reference> =
            ["a:1", "r.io/b:1", "a:2", "a:1"].iter().map(|r| r.parse().expect("a reference")).collect();
        let groups: Vec<(String, Vec<String>)> = by_repository(&references)
            .into_iter()
            .map(|(registry, repository, tags)| {
                (format!("{registry}/{repository}"), tags.iter().map(ToString::to_string).collect())
            })
            .collect();
        assert_eq!(
            groups,
            [
                ("docker.io/library/a".to_owned(), vec!["a:1".to_owned(), "a:2".to_owned()]),
                ("r.io/b".to_owned(), vec!["r.io/b:1".to_owned()])
            ]
        );
    }

    #[test]
    fn parallel_work_keeps_the_order_and_stops_at_an_error() {
        let items: Vec<usize> = (0..50).collect();
        assert_eq!(
            parallel(&items, |item| Ok(item * 2)).expect("done"),
            items.iter().map(|i| i * 2).collect::<Vec<_>>()
        );
        let begun = AtomicUsize::new(0);
        let result: Result<Vec<()>, _> = parallel(&items, |_| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(RegistryError::Protocol { what: String::new(), registry: String::new(), why: String::new() })
        });
        assert!(result.is_err());
        assert!(begun.into_inner() <= PARALLEL);
        assert_eq!(parallel(&[], |(): &()| Ok(())).expect("nothing to do"), []);
    }
}
