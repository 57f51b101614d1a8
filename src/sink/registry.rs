//! The sink that is a registry: sends what the registry lacks and nothing else, blobs in parallel, manifests last.
//!
//! The first request asks what lies under the tag. When that is the artifact already, nothing more is sent. Otherwise
//! each blob is asked for by HEAD, mounted from a repository that is known to have it, or uploaded; then the manifests
//! follow, an index after the manifests that it names, so that a tag never names parts that are missing.
//!
//! A registry may have lost a blob of an image whose manifest it still has. [`Options::verify`] asks for each part, and
//! [`Options::force`] asks for nothing.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    digest::Digest,
    image::{Artifact, Document, Format, FormatError},
    registry::{Blob, Presence, Reference, Registry, RegistryError, Scope, Uploaded},
    store::{Bucket, Key, Store},
    ui::{Ui, size},
};

/// How many blobs are on their way at once.
const PARALLEL: usize = 6;

/// How many repositories that hold a blob are remembered.
const REMEMBERED: usize = 4;

/// How a push is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Everything is sent as if the registry had nothing.
    pub force: bool,
    /// Each part is looked for, also where the tag names the image already.
    pub verify: bool,
    /// The form of the documents; `None` for OCI's, or Docker's where the registry takes nothing else.
    pub format: Option<Format>,
}

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
    /// The references that now name the artifact, each with the digest that it has there.
    pub references: Vec<Reference>,
    /// The digest that it has there: another one in Docker's form.
    pub digest: Digest,
    /// The form in which it is there.
    pub format: Format,
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

/// [`push_as`] with the default options.
///
/// # Errors
/// As `push_as`.
pub fn push(
    connect: &dyn Fn(&str) -> Registry,
    store: Option<&Store>,
    references: &[Reference],
    artifact: &Artifact,
    ui: &Ui,
) -> Result<Vec<PushReport>, RegistryError> {
    push_as(connect, store, references, artifact, Options::default(), ui)
}

/// Pushes `artifact` to each of `references`; one report for each repository among them, in the order of their first
/// mention. `connect` gives the client of a registry by its name; `store` remembers for the next push which
/// repositories hold which blobs.
///
/// # Errors
/// When a registry cannot be reached or refuses, a layer cannot be read, a reference names another digest than the
/// artifact's, or it has no such form.
pub fn push_as(
    connect: &dyn Fn(&str) -> Registry,
    store: Option<&Store>,
    references: &[Reference],
    artifact: &Artifact,
    options: Options,
    ui: &Ui,
) -> Result<Vec<PushReport>, RegistryError> {
    let forms = Forms::of(artifact, options.format)?;
    let groups = by_repository(references);
    // Before anything is sent: a digest that is wrong for one is wrong for all.
    let wanted = groups.iter().map(|group| forms.wanted(references, group)).collect::<Result<Vec<_>, _>>()?;
    let mut clients: BTreeMap<&str, Registry> = BTreeMap::new();
    let mut reports = Vec::new();
    for ((registry, repository, tags), wanted) in groups.iter().zip(wanted) {
        let client = clients.entry(registry).or_insert_with(|| connect(registry));
        let push = Push { client, store, repository, ui, options, scope: Scope::push(repository) };
        reports.push(push.run(tags, &forms, wanted)?);
    }
    Ok(reports)
}

/// An artifact in the forms in which it may be pushed.
struct Forms<'a> {
    /// The form that is tried first.
    first: (Format, Cow<'a, Artifact>),
    /// Docker's, for a registry that does not take the first, where the choice is this program's.
    other: Option<Result<Artifact, FormatError>>,
}

impl<'a> Forms<'a> {
    fn of(artifact: &'a Artifact, asked: Option<Format>) -> Result<Self, FormatError> {
        let first = match asked {
            Some(Format::Docker) => (Format::Docker, Cow::Owned(artifact.in_docker_format()?)),
            Some(Format::Oci) | None => (Format::Oci, Cow::Borrowed(artifact)),
        };
        Ok(Self { first, other: asked.is_none().then(|| artifact.in_docker_format()) })
    }

    fn get(&self, format: Format) -> &Artifact {
        match &self.other {
            Some(Ok(other)) if format != self.first.0 => other,
            _ => &self.first.1,
        }
    }

    fn is_other(&self, digest: Digest) -> bool {
        matches!(&self.other, Some(Ok(other)) if other.root().digest == digest)
    }

    /// The form whose digest the references to a repository name; `None` when they name none.
    fn wanted(&self, references: &[Reference], group: &Group<'_>) -> Result<Option<Format>, RegistryError> {
        let mut wanted = None;
        for reference in references.iter().filter(|r| (r.registry(), r.repository()) == (group.0, group.1)) {
            let Some(expected) = reference.digest() else { continue };
            let found = self.first.1.root().digest;
            let format = match *expected {
                digest if digest == found => self.first.0,
                digest if self.is_other(digest) => Format::Docker,
                _ => self.first.0,
            };
            if self.get(format).root().digest != *expected || wanted.is_some_and(|wanted| wanted != format) {
                return Err(RegistryError::Digest {
                    what: format!("the image to be pushed to {reference}"),
                    registry: "this build".into(),
                    expected: *expected,
                    found: found.to_string(),
                });
            }
            wanted = Some(format);
        }
        Ok(wanted)
    }

    /// The form that is pushed: the requested one, else what the registry has under one of the tags, else the first.
    fn choose(&self, wanted: Option<Format>, found: &[Option<Digest>]) -> Format {
        let first = self.first.1.root().digest;
        let has = |is: &dyn Fn(Digest) -> bool| found.iter().flatten().any(|digest| is(*digest));
        let other = !has(&|digest| digest == first) && has(&|digest| self.is_other(digest));
        wanted.unwrap_or(if other { Format::Docker } else { self.first.0 })
    }
}

/// A registry, a repository in it, and the references to that.
type Group<'a> = (&'a str, &'a str, Vec<&'a Reference>);

/// The references by registry and repository, in the order of their first mention, each once.
fn by_repository(references: &[Reference]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for reference in references {
        let same = |group: &&mut Group<'_>| group.0 == reference.registry() && group.1 == reference.repository();
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
    ui: &'a Ui,
    options: Options,
    scope: Scope,
}

/// A blob of the artifact: a layer's, or a configuration's, which has no layer's title.
struct Item {
    blob: Blob,
    title: String,
    is_layer: bool,
}

impl Push<'_> {
    fn run(
        &self,
        references: &[&Reference],
        forms: &Forms<'_>,
        wanted: Option<Format>,
    ) -> Result<PushReport, RegistryError> {
        let root = forms.get(wanted.unwrap_or(forms.first.0)).root();
        let found = if self.options.force { vec![None; references.len()] } else { self.tags(references, root)? };
        let format = forms.choose(wanted, &found);
        match self.bring(references, format, forms.get(format), &found) {
            Err(error) if wanted.is_none() && format == Format::Oci && error.refuses_media_type() => {
                match &forms.other {
                    Some(Ok(docker)) => {
                        let registry = self.client.name();
                        self.ui.say(&format!(
                            "{registry} takes Docker's media types only: the image is pushed in that form"
                        ));
                        self.bring(references, Format::Docker, docker, &vec![None; references.len()])
                    }
                    Some(Err(FormatError::Layer { title, media_type })) => {
                        self.ui.warn(&error.to_string());
                        Err(FormatError::Layer { title: title.clone(), media_type: media_type.clone() }.into())
                    }
                    _ => Err(error),
                }
            }
            report => report,
        }
    }

    /// Brings the artifact under the references, which named the digests `found`.
    fn bring(
        &self,
        references: &[&Reference],
        format: Format,
        artifact: &Artifact,
        found: &[Option<Digest>],
    ) -> Result<PushReport, RegistryError> {
        let root = artifact.root();
        let items = items(artifact);
        let mut missing: Vec<&Reference> = references.to_vec();
        let mut named = found.iter().map(|found| *found == Some(root.digest));
        missing.retain(|_| !named.next().unwrap_or(false));
        let is_named = missing.len() < references.len();
        let mut lacked = false;
        let outcomes = if is_named && !self.options.verify {
            // A registry keeps no manifest whose parts it lacks, unless it has lost them.
            vec![Outcome::Existed; items.len()]
        } else {
            let outcomes = self.blobs(&items)?;
            let is_whole = is_named && outcomes.iter().all(|outcome| *outcome == Outcome::Existed);
            if !(is_whole && self.has_manifests(artifact)?) {
                missing = references.to_vec();
                lacked = is_named;
            }
            outcomes
        };
        let unchanged = missing.is_empty();
        let with_children = missing.len() == references.len();
        let outcomes = match self.put(artifact, &missing, with_children) {
            Err(error) if error.lacks_parts() && outcomes.iter().any(|outcome| *outcome != Outcome::Pushed) => {
                self.ui.say(&format!("{} lacks what it said it has: it is sent again", self.client.name()));
                let sent = self.resend(&items, outcomes)?;
                self.put(artifact, &missing, true)?;
                sent
            }
            put => put.map(|()| outcomes)?,
        };
        self.tell(lacked, unchanged);
        let layers = items.into_iter().zip(outcomes).filter(|(item, _)| item.is_layer);
        Ok(PushReport {
            references: references.iter().map(|reference| reference.with_digest(root.digest)).collect(),
            digest: root.digest,
            format,
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

    fn tell(&self, lacked: bool, unchanged: bool) {
        let repository = format!("{}/{}", self.client.name(), self.repository);
        if lacked {
            self.ui.say(&format!("{repository} had lost a part of the image, which was sent again"));
        } else if unchanged && self.options.verify {
            self.ui.say(&format!("{repository} is up to date, and has all parts of the image"));
        } else if unchanged {
            let more = "should a pull fail: --verify looks for each part, --force sends all again";
            self.ui.say(&format!("{repository} is up to date ({more})"));
        }
    }

    /// What the references name now.
    fn tags(&self, references: &[&Reference], root: &Document) -> Result<Vec<Option<Digest>>, RegistryError> {
        parallel(references, |reference| {
            let found = self.client.find_manifest(self.repository, &name_of(reference, root), &self.scope)?;
            Ok(found.and_then(|found| found.digest))
        })
    }

    /// Whether the repository has the manifests that an index names.
    fn has_manifests(&self, artifact: &Artifact) -> Result<bool, RegistryError> {
        let digests: Vec<String> = children(artifact).map(|manifest| manifest.digest.to_string()).collect();
        let found = parallel(&digests, |digest| {
            Ok(self.client.find_manifest(self.repository, digest, &self.scope)?.is_some())
        })?;
        Ok(found.into_iter().all(|found| found))
    }

    /// Puts the manifests: those that an index names, then the artifact's own under each of the references.
    fn put(&self, artifact: &Artifact, references: &[&Reference], with_children: bool) -> Result<(), RegistryError> {
        for manifest in children(artifact).filter(|_| with_children) {
            self.client.put_manifest(self.repository, &manifest.digest.to_string(), manifest)?;
        }
        let root = artifact.root();
        references
            .iter()
            .try_for_each(|reference| self.client.put_manifest(self.repository, &name_of(reference, root), root))
    }

    fn blobs(&self, items: &[Item]) -> Result<Vec<Outcome>, RegistryError> {
        // The longest first, so that no long one is begun when all the others are through.
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(items[*index].blob.size));
        let done = parallel(&order, |index| self.blob(&items[*index]).map(|outcome| (*index, outcome)))?;
        let by_index: BTreeMap<usize, Outcome> = done.into_iter().collect();
        Ok(by_index.into_values().collect())
    }

    /// Sends what was not sent before.
    fn resend(&self, items: &[Item], outcomes: Vec<Outcome>) -> Result<Vec<Outcome>, RegistryError> {
        let all: Vec<(&Item, Outcome)> = items.iter().zip(outcomes).collect();
        parallel(&all, |(item, outcome)| match outcome {
            Outcome::Pushed => Ok(Outcome::Pushed),
            Outcome::Existed | Outcome::Mounted(_) => self.send(item, None),
        })
    }

    fn blob(&self, item: &Item) -> Result<Outcome, RegistryError> {
        let digest = &item.blob.digest;
        if self.options.force {
            return self.send(item, None);
        }
        let size = self.options.verify.then_some(item.blob.size);
        if self.client.look_for_blob(self.repository, digest, size, &self.scope)? == Presence::There {
            self.ui.detail(&format!("{}: there already", item.title));
            self.remember(item);
            return Ok(Outcome::Existed);
        }
        let mount = self.holders(digest).into_iter().find(|repository| repository != self.repository);
        self.send(item, mount.as_deref())
    }

    fn send(&self, item: &Item, mount: Option<&str>) -> Result<Outcome, RegistryError> {
        let Item { blob, title, .. } = item;
        let task = Arc::new(self.ui.task(title, Some(blob.size)));
        let outcome = match self.client.upload(self.repository, blob, mount, &task)? {
            Uploaded::Sent => Outcome::Pushed,
            Uploaded::Mounted(from) => Outcome::Mounted(from),
        };
        match &outcome {
            Outcome::Mounted(from) => self.ui.detail(&format!("{title}: mounted from {from}")),
            _ => {
                self.ui.detail(&format!("{title}: {} sent", size(blob.size)));
                // It is not there any more, or not for this user.
                mount.into_iter().for_each(|from| self.forget(&blob.digest, from));
            }
        }
        self.remember(item);
        Ok(outcome)
    }

    fn memo_key(&self, digest: &Digest) -> Key {
        Key::new().text("registry", self.client.name()).text("blob", digest)
    }

    /// The repositories of this registry that had the blob when this program was last there, the latest first.
    fn holders(&self, digest: &Digest) -> Vec<String> {
        self.store.and_then(|store| store.recall(Bucket::PushedBlobs, &self.memo_key(digest))).unwrap_or_default()
    }

    fn remember(&self, item: &Item) {
        let digest = &item.blob.digest;
        let mut holders = self.holders(digest);
        if item.is_layer && !holders.iter().any(|repository| repository == self.repository) {
            holders.insert(0, self.repository.to_owned());
            holders.truncate(REMEMBERED);
            self.keep(digest, &holders);
        }
    }

    fn forget(&self, digest: &Digest, repository: &str) {
        let mut holders = self.holders(digest);
        holders.retain(|holder| holder != repository);
        self.keep(digest, &holders);
    }

    fn keep(&self, digest: &Digest, holders: &[String]) {
        let Some(store) = self.store else { return };
        if let Err(error) = store.remember(Bucket::PushedBlobs, &self.memo_key(digest), &holders) {
            self.ui.detail(&format!("not remembered for the next push: {error}"));
        }
    }
}

/// The blobs of all images, each once.
fn items(artifact: &Artifact) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut add = |item: Item| {
        if items.iter().all(|other| other.blob.digest != item.blob.digest) {
            items.push(item);
        }
    };
    for image in &artifact.images {
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

/// The manifests that an index names.
fn children(artifact: &Artifact) -> impl Iterator<Item = &Document> {
    artifact.images.iter().filter(|_| artifact.index.is_some()).map(|image| &image.manifest)
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
