//! What registries, their token servers and the proxies before them do otherwise than the specification says: a table of quirks,
//! and what is expected of a push to each of them. (Most are told of in the issues of other clients, or were met in registries.)

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use microbuild::internals::{
    digest::Digest,
    error::{Explain as _, Kind},
    http::{Http, HttpOptions},
    image::{Artifact, DOCKER_MANIFEST, Format},
    layer::Layer,
    media::GZIP,
    registry::{CredentialStore, Credentials, Reference, Registry, RegistryError},
    sink::registry::{Options, PushReport, push_as},
    store::Store,
    ui::Ui,
};

use crate::support::{
    fake_registry::{Auth, FakeRegistry, PASSWORD, USER},
    random_image::image_of,
};

mod answers;
mod uploads;

/// Long enough to be sent as a stream.
const STREAMED: usize = 300_000;

/// Longer than what lies in the buffers of two sockets and a client.
const LONG: usize = 24 << 20;

/// Makes a registry what the row says.
type Prepare = Box<dyn Fn(&FakeRegistry, &Artifact) + Send + Sync>;

/// A registry's quirk, and what is expected of a push of a small image to `app:1`.
struct Quirk {
    name: String,
    prepare: Prepare,
    /// The repository that has the image already.
    before: Option<&'static str>,
    auth: Auth,
    length: usize,
    /// How long a silent registry is waited for.
    patience: Duration,
    options: Options,
    expected: Expected,
    /// Beginnings of the requests in short, and how many there are of them.
    requests: Vec<(&'static str, usize)>,
    /// The most that there may be of them.
    at_most: Vec<(&'static str, usize)>,
}

#[derive(Clone)]
enum Expected {
    /// The image arrives as it is.
    Arrives,
    /// It arrives with Docker's media types.
    ArrivesAsDocker,
    /// It does not, and the error says so: message and hint have all these words.
    Fails(Kind, Vec<&'static str>),
}

/// A quirk that `prepare` gives the registry.
fn quirk(name: impl Into<String>, prepare: impl Fn(&FakeRegistry) + Send + Sync + 'static) -> Quirk {
    quirk_of(name, move |registry, _| prepare(registry))
}

/// A quirk that concerns a certain blob of the image.
fn quirk_of(name: impl Into<String>, prepare: impl Fn(&FakeRegistry, &Artifact) + Send + Sync + 'static) -> Quirk {
    Quirk {
        name: name.into(),
        prepare: Box::new(prepare),
        before: None,
        auth: Auth::Nobody,
        length: STREAMED,
        // Other tests may keep the machine busy.
        patience: Duration::from_secs(30),
        options: Options::default(),
        expected: Expected::Arrives,
        requests: Vec::new(),
        at_most: Vec::new(),
    }
}

impl Quirk {
    /// The repository has the image already, under the same tag.
    fn again(mut self) -> Self {
        self.before = Some("app");
        self
    }

    /// Another repository has the image, and this program knows of it.
    fn elsewhere(mut self) -> Self {
        self.before = Some("first");
        self
    }

    /// The registry wants tokens.
    fn with_tokens(mut self) -> Self {
        self.auth = Auth::Bearer;
        self
    }

    /// The registry wants a password.
    fn with_password(mut self) -> Self {
        self.auth = Auth::Basic;
        self
    }

    /// The layer does not fit into buffers.
    fn long(mut self) -> Self {
        self.length = LONG;
        self
    }

    /// Silence is told after so many milliseconds; a user is told after a minute.
    fn patient_for(mut self, milliseconds: u64) -> Self {
        self.patience = Duration::from_millis(milliseconds);
        self
    }

    fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    fn fails(mut self, kind: Kind, words: &[&'static str]) -> Self {
        self.expected = Expected::Fails(kind, words.to_vec());
        self
    }

    fn docker_format(mut self) -> Self {
        self.expected = Expected::ArrivesAsDocker;
        self
    }

    /// Exactly so many requests begin so.
    fn asking(mut self, start: &'static str, times: usize) -> Self {
        self.requests.push((start, times));
        self
    }

    fn at_most(mut self, start: &'static str, times: usize) -> Self {
        self.at_most.push((start, times));
        self
    }

    /// Pushes, and says what is not as expected.
    fn check(&self) -> Result<(), String> {
        let registry = FakeRegistry::start();
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("a store");
        let artifact = image(self.length);
        if let Some(repository) = self.before {
            push(&registry, &store, repository, &artifact, Options::default(), &http(self.patience))
                .expect("pushed before");
        }
        registry.wants(self.auth);
        registry.take_requests();
        (self.prepare)(&registry, &artifact);
        let pushed = push(&registry, &store, "app", &artifact, self.options, &http(self.patience));
        let lines = registry.take_lines();
        self.compare(&registry, &artifact, &pushed).map_err(|why| format!("{why}\n    {}", lines.join("\n    ")))?;
        let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        let wrong = self.requests.iter().find(|(start, times)| count(start) != *times);
        let wrong = wrong.or_else(|| self.at_most.iter().find(|(start, times)| count(start) > *times));
        wrong.map_or(Ok(()), |(start, times)| {
            Err(format!("expected {times} of `{start}`, found {}\n    {}", count(start), lines.join("\n    ")))
        })
    }

    fn compare(
        &self,
        registry: &FakeRegistry,
        artifact: &Artifact,
        pushed: &Result<PushReport, RegistryError>,
    ) -> Result<(), String> {
        let docker = artifact.in_docker_format().expect("gzip layers");
        let expected = match (&self.expected, pushed) {
            (Expected::Arrives, Ok(_)) => artifact,
            (Expected::ArrivesAsDocker, Ok(_)) => &docker,
            (Expected::Fails(..), Ok(_)) => return Err("it succeeds".into()),
            (Expected::Fails(kind, words), Err(error)) => return is_told(error, *kind, words),
            (_, Err(error)) => return Err(format!("it fails: {error:?}")),
        };
        let report = pushed.as_ref().expect("it succeeded");
        if report.digest != expected.root().digest {
            return Err(format!("it is told to be {}", report.digest));
        }
        if registry.manifest("app", "1").as_ref() != Some(&expected.root().bytes) {
            return Err("the tag has another manifest".into());
        }
        if self.expected_type().is_some_and(|kind| registry.media_type("app", "1").as_deref() != Some(kind)) {
            return Err("the manifest was sent with another media type".into());
        }
        let image = &expected.images[0];
        let blobs = image.layers.iter().map(|layer| (layer.digest, layer.size));
        for (digest, size) in blobs.chain([(image.config.digest, image.config.bytes.len() as u64)]) {
            let there = registry.blob("app", &digest).map(|bytes| (Digest::of(&bytes), bytes.len() as u64));
            if there != Some((digest, size)) {
                return Err(format!("a blob of {size} bytes is not there"));
            }
        }
        Ok(())
    }

    fn expected_type(&self) -> Option<&'static str> {
        matches!(self.expected, Expected::ArrivesAsDocker).then_some(DOCKER_MANIFEST)
    }
}

/// Whether an error is of this kind and says all that it should, in one line that a terminal can show.
fn is_told(error: &RegistryError, kind: Kind, words: &[&str]) -> Result<(), String> {
    let told = format!("{error}\nhint: {}", error.hint().unwrap_or_default());
    if error.kind() != kind {
        return Err(format!("it fails as {:?}: {told}", error.kind()));
    }
    if let Some(missing) = words.iter().find(|word| !told.contains(**word)) {
        return Err(format!("`{missing}` is missing in: {told}"));
    }
    let obeyed = told.replacen("\nhint: ", " ", 1).chars().any(char::is_control);
    if obeyed || told.contains("SECRET") || told.contains(PASSWORD) || told.len() > 1200 {
        return Err(format!("it should not be shown so: {told:?}"));
    }
    Ok(())
}

fn http(idle_timeout: Duration) -> Http {
    let options = HttpOptions {
        backoff: Duration::from_millis(1),
        longest_wait: Duration::from_secs(1),
        idle_timeout,
        ..HttpOptions::default()
    };
    Http::new(options).expect("a client")
}

fn image(length: usize) -> Artifact {
    let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 249).expect("below 249")).collect();
    let digest = Digest::of(&bytes);
    let size = bytes.len() as u64;
    let layer =
        Layer { digest, diff_id: digest, size, media_type: GZIP.into(), title: "app".into(), content: Arc::new(bytes) };
    Artifact { index: None, images: vec![image_of("linux/amd64", vec![layer])] }
}

/// As a digest stands in the query of an upload's last request.
fn in_query(digest: &Digest) -> String {
    digest.to_string().replace(':', "%3A")
}

/// The layer of the image, as the query of its upload's last request has it.
fn layer_of(artifact: &Artifact) -> String {
    in_query(&artifact.images[0].layers[0].digest)
}

fn push(
    registry: &FakeRegistry,
    store: &Store,
    repository: &str,
    artifact: &Artifact,
    options: Options,
    http: &Http,
) -> Result<PushReport, RegistryError> {
    let reference: Reference = format!("{}/{repository}:1", registry.name()).parse().expect("a reference");
    // With Auth::Nobody nothing asks for these.
    let connect = |name: &str| Registry::with_credentials(http, name, Some(Credentials::password(USER, PASSWORD)));
    let anonymous = |name: &str| Registry::new(http, &CredentialStore::empty(), name);
    let connect: &dyn Fn(&str) -> Registry = if registry.is_open() { &anonymous } else { &connect };
    push_as(connect, Some(store), &[reference], artifact, options, &Ui::silent()).map(|mut reports| reports.remove(0))
}

/// Checks all quirks by a few threads, and tells of all that are not as expected.
fn check(quirks: &[Quirk]) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(quirk) = quirks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = Instant::now();
                    if let Err(why) = quirk.check() {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(format!("{} ({:?}): {why}", quirk.name, started.elapsed()));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failed.is_empty(), "{} of {} quirks:\n{}", failed.len(), quirks.len(), failed.join("\n\n"));
}

#[test]
fn uploads_arrive_whatever_the_registrys_dialect() {
    check(&uploads::quirks());
}

#[test]
fn refusals_and_other_answers_are_understood() {
    check(&answers::quirks());
}

#[test]
fn there_are_enough_of_them() {
    assert!(uploads::quirks().len() + answers::quirks().len() >= 80);
}

/// Docker's form, where a row asks for it.
fn in_format(format: Format) -> Options {
    Options { format: Some(format), ..Options::default() }
}
