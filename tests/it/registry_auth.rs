//! Authentication with registries: challenges, tokens, and where credentials come from and go to.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use microbuild::internals::{
    digest::Digest,
    error::{Explain as _, Kind},
    http::{Http, HttpOptions},
    registry::{CredentialStore, Reference, Registry, RegistryError, Scope, Stored, login, logout},
    sink::registry::push,
    store::BlobDir,
    ui::Ui,
};
use serde_json::{Value, json};

use super::registry::{http, shown};
use crate::support::{
    Home,
    fake_registry::{Auth, FakeRegistry, IDENTITY, PASSWORD, USER},
    random_image::random_image,
    run,
};

/// A user with a home and nothing in it.
struct User {
    home: tempfile::TempDir,
    /// Further variables of the environment.
    vars: Vec<(&'static str, PathBuf)>,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a folder"), vars: Vec::new() }
    }

    fn with(mut self, var: &'static str, path: impl AsRef<Path>) -> Self {
        self.vars.push((var, self.path(path)));
        self
    }

    fn with_text(mut self, var: &'static str, text: &str) -> Self {
        self.vars.push((var, text.into()));
        self
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.home.path().join(path)
    }

    fn file(self, path: &str, json: &Value) -> Self {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, json.to_string()).expect("a file");
        self
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(path)).expect("a file")).expect("JSON")
    }

    /// A credential helper that keeps its secrets in a folder, and notes its calls in `calls`.
    fn helper(self, name: &str) -> Self {
        let script = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
echo "$1" >> calls
case "$1" in
    get) read -r url; file=$(echo "$url" | tr -c 'a-z0-9\n' _)
        test -f "$file" || { echo "credentials not found in native keychain"; exit 1; }
        cat "$file" ;;
    store) json=$(cat); url=$(echo "$json" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')
        echo "$json" > "$(echo "$url" | tr -c 'a-z0-9\n' _)" ;;
    erase) read -r url; rm "$(echo "$url" | tr -c 'a-z0-9\n' _)" ;;
esac
"#;
        let bin = self.path("bin");
        fs::create_dir_all(&bin).expect("a folder");
        fs::write(bin.join("script"), script).expect("a file");
        // Another process writes what is executed: were this one to do so, a child that another test forks meanwhile would hold
        // it open for writing, and it could not be executed ("text file busy").
        let program = bin.join(format!("docker-credential-{name}"));
        let copied = Command::new("sh")
            .args(["-c", "cp \"$1\" \"$2\" && chmod 755 \"$2\"", "sh"])
            .args([bin.join("script"), program])
            .status();
        assert!(copied.expect("sh").success());
        self
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("bin/calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    fn store(&self) -> CredentialStore {
        CredentialStore::from_env(|name| match name {
            "HOME" => Some(self.home.path().into()),
            "PATH" => {
                let mut path = self.path("bin").into_os_string();
                path.push(":");
                path.push(std::env::var_os("PATH").unwrap_or_default());
                Some(path)
            }
            name => self.vars.iter().find(|(var, _)| *var == name).map(|(_, path)| OsString::from(path)),
        })
    }

    /// Whether a push with this user's credentials succeeds.
    fn pushes(&self, registry: &FakeRegistry) -> Result<(), RegistryError> {
        let connect = |name: &str| Registry::new(&http(), &self.store(), name);
        let reference: Reference = format!("{}/me/app:1", registry.name()).parse().expect("a reference");
        push(&connect, None, &[reference], &random_image(1, &[3000, 3000]), &Ui::silent()).map(drop)
    }
}

fn auth() -> String {
    STANDARD.encode(format!("{USER}:{PASSWORD}"))
}

fn wanting(auth: Auth) -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.wants(auth);
    registry
}

#[test]
fn a_password_is_told_only_to_who_asks_for_it() {
    let registry = wanting(Auth::Nobody);
    let user = User::new().file(".docker/config.json", &json!({ "auths": { registry.name(): { "auth": auth() } } }));
    user.pushes(&registry).expect("pushed");
    assert!(registry.take_requests().iter().all(|request| request.header("authorization").is_none()));
    registry.wants(Auth::Basic);
    user.pushes(&registry).expect("pushed");
    let requests = registry.take_requests();
    assert_eq!(requests[0].status, 401, "the first one asks");
    assert!(requests[1..].iter().all(|request| request.status != 401), "{requests:#?}");
}

#[test]
fn credentials_are_found_wherever_docker_and_podman_keep_them() {
    let registry = wanting(Auth::Basic);
    let name = registry.name();
    let with = |key: &str, entry: Value| json!({ "auths": { key: entry } });
    let good = with(&name, json!({ "auth": auth() }));
    let bad = with(&name, json!({ "auth": STANDARD.encode("me:wrong") }));
    let users = [
        User::new().file(".docker/config.json", &good),
        User::new().file(".docker/config.json", &with(&format!("https://{name}/v1/"), json!({ "auth": auth() }))),
        User::new().file(".docker/config.json", &with(&name, json!({ "username": USER, "password": PASSWORD }))),
        User::new().with("DOCKER_CONFIG", "d").file("d/config.json", &good).file(".docker/config.json", &bad),
        User::new().with("REGISTRY_AUTH_FILE", "a.json").file("a.json", &good).file(".docker/config.json", &bad),
        User::new().with("XDG_RUNTIME_DIR", "run").file("run/containers/auth.json", &good),
        User::new().file(".config/containers/auth.json", &good).file(".docker/config.json", &json!({})),
        User::new().with("XDG_CONFIG_HOME", "c").file("c/containers/auth.json", &good),
        // A helper that has none, and one that is meant for all and not there, are misses.
        User::new().helper("fake").file(
            ".docker/config.json",
            &json!({
                "credsStore": "fake", "auths": { name.clone(): { "auth": auth() } }
            }),
        ),
        User::new()
            .file(".docker/config.json", &json!({ "credsStore": "missing" }))
            .file(".config/containers/auth.json", &good),
    ];
    for (number, user) in users.iter().enumerate() {
        let pushed = user.pushes(&registry);
        assert!(pushed.is_ok(), "case {number}: {pushed:?}");
    }
    for user in [User::new(), User::new().file(".docker/config.json", &bad)] {
        let error = user.pushes(&registry).expect_err("refused");
        assert_eq!(error.kind(), Kind::Network);
        assert!(error.hint().is_some_and(|hint| hint.contains("microbuild login")), "{error}");
    }
}

#[test]
fn credentials_of_a_repository_count_before_those_above_it() {
    let good = || json!({ "auth": auth() });
    let bad = || json!({ "auth": STANDARD.encode("me:wrong") });
    for kind in [Auth::Basic, Auth::Bearer] {
        let registry = wanting(kind);
        let name = registry.name();
        let at = |path: &str| format!("{name}{path}");
        for (entries, works) in [
            (vec![("/me/app", good()), ("/me", bad()), ("", bad())], true),
            (vec![("/me", good()), ("", bad())], true),
            (vec![("/me/", good())], true),
            (vec![("/me", json!({})), ("", good())], true),
            (vec![("/me/app", bad()), ("", good())], false),
            (vec![("/me/ap", good()), ("/m", good()), ("/you", good()), ("/me/app/x", good()), ("", bad())], false),
        ] {
            let auths: serde_json::Map<_, _> = entries.iter().map(|(path, entry)| (at(path), entry.clone())).collect();
            let config = json!({ "auths": auths });
            for file in [".docker/config.json", ".config/containers/auth.json"] {
                let user = User::new().file(file, &config);
                let pushed = user.pushes(&registry);
                assert_eq!(pushed.is_ok(), works, "{kind:?} {file}: {entries:?}: {pushed:?}");
            }
        }
        // A helper of a namespace, which is asked for it by name.
        let config = json!({ "credHelpers": { at("/me"): "fake" }, "auths": { name.clone(): bad() } });
        let user = User::new().helper("fake").file(".docker/config.json", &config);
        let answer = json!({ "Username": USER, "Secret": PASSWORD }).to_string();
        let asked = at("/me").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        fs::write(user.path("bin").join(asked), answer).expect("a file");
        user.pushes(&registry).expect("pushed");
        assert_eq!(user.calls(), ["get"]);
    }
}

#[test]
fn two_repositories_of_one_push_have_credentials_of_their_own() {
    for kind in [Auth::Basic, Auth::Bearer] {
        let registry = wanting(kind);
        let name = registry.name();
        let wrong = STANDARD.encode("me:wrong");
        let config = json!({ "auths": {
            format!("{name}/one"): { "auth": auth() }, format!("{name}/two"): { "auth": wrong },
        }});
        let user = User::new().file(".docker/config.json", &config);
        let connect = |name: &str| Registry::new(&http(), &user.store(), name);
        let artifact = random_image(1, &[3000]);
        let push_to = |names: &[&str]| {
            let references: Vec<Reference> =
                names.iter().map(|path| format!("{name}/{path}:1").parse().expect("a reference")).collect();
            push(&connect, None, &references, &artifact, &Ui::silent())
        };
        push_to(&["one/app", "one/other"]).expect("pushed");
        let error = push_to(&["one/app", "two/app"]).expect_err("refused");
        assert!(error.hint().is_some_and(|hint| hint.contains(&format!("for {name}/two"))), "{error:?}");
        let basic = |request: crate::support::fake_registry::Request| {
            let value = request.header("authorization")?.strip_prefix("Basic ")?.to_owned();
            let about = request.query("scope").unwrap_or(request.target);
            Some((value, about))
        };
        for (value, about) in registry.take_requests().into_iter().filter_map(basic) {
            assert_eq!(value == wrong, about.contains("two/app"), "{value} was sent for {about}");
        }
    }
}

#[test]
fn docker_auth_config_is_read_in_dockers_order() {
    let registry = wanting(Auth::Basic);
    let name = registry.name();
    let with = |auth: String| json!({ "auths": { name.clone(): { "auth": auth } } });
    let (good, bad) = (with(auth()), with(STANDARD.encode("me:wrong")));
    let user = |variables: &[(&'static str, &Value)], files: &[(&str, &Value)]| {
        let with_files = files.iter().fold(User::new(), |user, (path, json)| user.file(path, json));
        variables.iter().fold(with_files, |user, (name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            user.with_text(name, &text)
        })
    };
    let (file, podmans) = (".docker/config.json", ".config/containers/auth.json");
    let yes = json!("true");
    for (variables, files, works) in [
        (vec![("DOCKER_AUTH_CONFIG", &good)], vec![], true),
        (vec![("DOCKER_AUTH_CONFIG", &good)], vec![(file, &bad)], true),
        (vec![("DOCKER_AUTH_CONFIG", &bad)], vec![(file, &good)], false),
        // In GitLab's CI, what the job itself logged in with comes first.
        (vec![("DOCKER_AUTH_CONFIG", &bad), ("GITLAB_CI", &yes)], vec![(file, &good)], true),
        (vec![("DOCKER_AUTH_CONFIG", &bad), ("GITLAB_CI", &yes)], vec![(podmans, &good)], true),
        (vec![("DOCKER_AUTH_CONFIG", &good), ("GITLAB_CI", &yes)], vec![], true),
        // What is wrong with it stands in no one's way.
        (vec![("DOCKER_AUTH_CONFIG", &json!("/run/secrets/config.json"))], vec![(file, &good)], true),
        (
            vec![("DOCKER_AUTH_CONFIG", &json!({ "credHelpers": { name.clone(): "missing" } }))],
            vec![(file, &good)],
            true,
        ),
        (vec![("DOCKER_AUTH_CONFIG", &json!(""))], vec![(file, &good)], true),
        (vec![("DOCKER_AUTH_CONFIG", &json!({ "auths": { format!("{name}/me"): { "auth": auth() } } }))], vec![], true),
    ] {
        let pushed = user(&variables, &files).pushes(&registry);
        assert_eq!(pushed.is_ok(), works, "{variables:?} {files:?}: {pushed:?}");
    }
    let explicit = user(&[("DOCKER_AUTH_CONFIG", &bad)], &[("a.json", &good)]).with("REGISTRY_AUTH_FILE", "a.json");
    explicit.pushes(&registry).expect("the named file comes first");
    let broken = user(&[("DOCKER_AUTH_CONFIG", &json!("my secret"))], &[]);
    let error = broken.pushes(&registry).expect_err("no credentials");
    insta::assert_snapshot!(shown(&error));
    assert!(user(&[("DOCKER_AUTH_CONFIG", &bad)], &[]).store().is_overruled(&name));
    let of_gitlab = user(&[("DOCKER_AUTH_CONFIG", &bad), ("GITLAB_CI", &yes)], &[]);
    assert!(!of_gitlab.store().is_overruled(&name));
}

#[test]
fn one_token_serves_a_whole_push() {
    let registry = wanting(Auth::Bearer);
    let user = User::new().file(".docker/config.json", &json!({ "auths": { registry.name(): { "auth": auth() } } }));
    user.pushes(&registry).expect("pushed");
    let requests = registry.take_requests();
    let tokens: Vec<_> = requests.iter().filter(|request| request.target.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].query("scope").as_deref(), Some("repository:me/app:pull,push"));
    assert_eq!(tokens[0].query("service").as_deref(), Some("fake"));
    let basic = |request: &&crate::support::fake_registry::Request| {
        request.header("authorization").is_some_and(|value| value.starts_with("Basic"))
    };
    assert_eq!(requests.iter().filter(basic).count(), 1, "the password goes to the token server alone");
    assert_eq!(requests.iter().filter(|request| request.status == 401).count(), 1);
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let registry = wanting(Auth::Bearer);
    for entry in
        [json!({ "identitytoken": IDENTITY }), json!({ "auth": STANDARD.encode(format!("<token>:{IDENTITY}")) })]
    {
        let user = User::new().file(".docker/config.json", &json!({ "auths": { registry.name(): entry } }));
        user.pushes(&registry).expect("pushed");
        let requests = registry.take_requests();
        assert_eq!(requests.iter().filter(|r| r.target == "/token" && r.method == "POST").count(), 1);
        assert!(requests.iter().all(|request| !request.target.contains(IDENTITY)), "never in a URL");
    }
}

#[test]
fn tokens_that_expire_or_are_revoked_are_renewed() {
    let registry = wanting(Auth::Bearer);
    let digest = registry.put_blob("me/app", b"bytes");
    let client = Registry::new(&http(), &CredentialStore::empty(), &registry.name());
    let ask = || client.has_blob("me/app", &digest, &Scope::pull("me/app")).expect("asked");
    assert!(ask());
    assert!(ask());
    let count = || registry.take_requests().iter().filter(|request| request.target.starts_with("/token")).count();
    assert_eq!(count(), 1, "one token for both");
    registry.revoke_tokens();
    assert!(ask());
    assert_eq!(count(), 1, "a new one");
    registry.revoke_tokens();
    registry.tokens_live(0);
    assert!(ask());
    assert!(ask());
    assert_eq!(count(), 2, "those expire at once");
}

#[test]
fn anonymous_users_pull_but_do_not_push() {
    let registry = wanting(Auth::Bearer);
    let digest = registry.put_blob("me/app", b"bytes");
    let dir = tempfile::tempdir().expect("a folder");
    let blobs = BlobDir::open(dir.path()).expect("a folder");
    let client = Registry::new(&http(), &CredentialStore::empty(), &registry.name());
    assert_eq!(client.fetch_blob("me/app", &digest, 5, &blobs).expect("pulled"), 5);
    let nobody = User::new().pushes(&registry).expect_err("refused");
    let entry = json!({ "auth": STANDARD.encode("me:wrong") });
    let user = User::new().file(".docker/config.json", &json!({ "auths": { registry.name(): entry } }));
    let wrong = user.pushes(&registry).expect_err("refused");
    let told = shown(&nobody) + "\n" + &shown(&wrong).replace(&*user.home.path().to_string_lossy(), "HOME");
    insta::assert_snapshot!(told);
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let storage = FakeRegistry::start();
    let digest = storage.put_blob("me/app", b"bytes");
    for auth_kind in [Auth::Basic, Auth::Bearer] {
        let registry = wanting(auth_kind);
        registry.put_blob("me/app", b"bytes");
        registry.keeps_blobs_at(&storage.name());
        let user =
            User::new().file(".docker/config.json", &json!({ "auths": { registry.name(): { "auth": auth() } } }));
        let dir = tempfile::tempdir().expect("a folder");
        let blobs = BlobDir::open(dir.path()).expect("a folder");
        let client = Registry::new(&http(), &user.store(), &registry.name());
        client.fetch_blob("me/app", &digest, 5, &blobs).expect("pulled");
        assert!(registry.take_requests().iter().any(|request| request.header("authorization").is_some()));
        let there = storage.take_requests();
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].header("authorization"), None, "{auth_kind:?}");
    }
}

#[test]
fn a_storage_that_wants_credentials_does_not_get_the_registrys() {
    let storage = wanting(Auth::Basic);
    let registry = wanting(Auth::Basic);
    let digest = registry.put_blob("me/app", b"bytes");
    registry.keeps_blobs_at(&storage.name());
    let user = User::new().file(".docker/config.json", &json!({ "auths": { registry.name(): { "auth": auth() } } }));
    let dir = tempfile::tempdir().expect("a folder");
    let blobs = BlobDir::open(dir.path()).expect("a folder");
    let client = Registry::new(&http(), &user.store(), &registry.name());
    assert!(client.fetch_blob("me/app", &digest, 5, &blobs).is_err());
    assert!(storage.take_requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn offline_says_so_and_asks_nobody() {
    let registry = wanting(Auth::Nobody);
    let offline = Http::new(HttpOptions { offline: true, ..HttpOptions::default() }).expect("a client");
    let client = Registry::new(&offline, &CredentialStore::empty(), &registry.name());
    let error = client.has_blob("a", &Digest::of(""), &Scope::pull("a")).expect_err("offline");
    assert!(error.to_string().contains("--offline"), "{error}");
    assert!(registry.take_requests().is_empty());
}

#[test]
fn login_checks_and_keeps_what_else_is_in_the_file() {
    for kind in [Auth::Basic, Auth::Bearer] {
        let registry = wanting(kind);
        let other = json!({ "auths": { "other.io": { "auth": "b3RoZXI6eA==" } }, "HttpHeaders": { "X": "y" } });
        let user = User::new().file(".docker/config.json", &other);
        let store = user.store();
        let error = login(&http(), &store, &registry.name(), USER, "wrong").expect_err("refused");
        assert_eq!(error.kind(), Kind::Network);
        assert!(!shown(&error).contains("wrong"), "{error}");
        assert_eq!(user.json(".docker/config.json"), other, "nothing is stored");

        let stored = login(&http(), &store, &registry.name(), USER, PASSWORD).expect("accepted");
        assert_eq!(stored, Stored::File(user.path(".docker/config.json")));
        let mut expected = other.clone();
        expected["auths"][registry.name()] = json!({ "auth": auth() });
        assert_eq!(user.json(".docker/config.json"), expected);
        user.pushes(&registry).expect("pushed");

        assert!(logout(&store, &registry.name()).expect("removed"));
        assert_eq!(user.json(".docker/config.json"), other);
        assert!(!logout(&store, &registry.name()).expect("nothing to remove"));
    }
}

#[test]
fn a_login_is_readable_by_its_owner_only_even_through_a_link() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let registry = wanting(Auth::Basic);
    let user = User::new();
    login(&http(), &user.store(), &registry.name(), USER, PASSWORD).expect("accepted");
    let mode = |path: &str| fs::metadata(user.path(path)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(".docker"), mode(".docker/config.json")), (0o700, 0o600));

    let linked = User::new().file("dotfiles/docker.json", &json!({ "detachKeys": "x" }));
    fs::create_dir(linked.path(".docker")).expect("a folder");
    symlink(linked.path("dotfiles/docker.json"), linked.path(".docker/config.json")).expect("a link");
    login(&http(), &linked.store(), &registry.name(), USER, PASSWORD).expect("accepted");
    assert!(fs::symlink_metadata(linked.path(".docker/config.json")).expect("there").is_symlink());
    assert_eq!(linked.json("dotfiles/docker.json")["detachKeys"], "x");
}

#[test]
fn a_login_goes_into_the_helper_when_there_is_one() {
    let registry = wanting(Auth::Basic);
    for config in [json!({ "credsStore": "fake" }), json!({ "credHelpers": { registry.name(): "fake" } })] {
        let user = User::new().helper("fake").file(".docker/config.json", &config);
        let stored = login(&http(), &user.store(), &registry.name(), USER, PASSWORD).expect("accepted");
        assert_eq!(stored, Stored::Helper("docker-credential-fake".into()));
        assert_eq!(user.json(".docker/config.json"), config, "no secret in the file");
        user.pushes(&registry).expect("pushed");
        assert_eq!(user.calls(), ["store", "get"]);
        assert!(logout(&user.store(), &registry.name()).expect("removed"));
        assert!(!logout(&user.store(), &registry.name()).expect("nothing to remove"));
        assert!(user.pushes(&registry).is_err());
    }
}

#[test]
fn no_helper_of_the_current_folder_is_run() {
    let home = Home::new();
    let name = "127.0.0.1:5000";
    let app = home.path().join("app");
    let script = "#!/bin/sh\ntouch ../canary\necho '{\"Username\": \"x\", \"Secret\": \"y\"}'\n";
    fs::create_dir_all(home.path().join(".docker")).expect("a folder");
    fs::create_dir(&app).expect("a folder");
    fs::write(home.path().join("script"), script).expect("a file");
    let planted = app.join("docker-credential-planted");
    run(Command::new("install").args(["-m", "755"]).args([home.path().join("script"), planted])).succeeds();
    let system = std::env::var("PATH").expect("a search path");
    for (config, code) in [(json!({ "credHelpers": { name: "planted" } }), 2), (json!({ "credsStore": "planted" }), 0)]
    {
        fs::write(home.path().join(".docker/config.json"), config.to_string()).expect("a file");
        for path in [format!(":{system}"), format!("{system}:"), format!(".:{system}"), format!("../app:{system}")] {
            let mut logout = home.microbuild(["logout", name]);
            let finished = run(logout.env("PATH", &path).current_dir(&app));
            finished.exits(code);
            assert!(!home.path().join("canary").exists(), "PATH={path} ran a program of the current folder");
        }
    }
}

#[test]
fn what_is_wrong_with_stored_credentials_is_explained() {
    let registry = wanting(Auth::Basic);
    let name = registry.name();
    let broken_helper = User::new().helper("fake").file(".docker/config.json", &json!({ "credsStore": "fake" }));
    let key = name.replace(['.', ':'], "_");
    fs::write(broken_helper.path("bin").join(key), "my secret, not JSON").expect("a file");
    let mut told = String::new();
    for user in [
        User::new().file(".docker/config.json", &json!({ "credHelpers": { name.clone(): "missing" } })),
        User::new().file(".docker/config.json", &json!({ "credsStore": "missing" })),
        User::new().file(".docker/config.json", &json!({ "credsStore": "../../bin/sh" })),
        User::new().file(".docker/config.json", &json!({ "auths": "my secret" })),
        User::new().file(".docker/config.json", &json!({ "auths": { name.clone(): { "auth": "my secret" } } })),
        User::new().file(".docker/config.json", &json!({ "auths": { name.clone(): { "auth": "c2VjcmV0" } } })),
        broken_helper,
    ] {
        let error = user.pushes(&registry).expect_err("refused");
        told += &shown(&error).replace(&*user.home.path().to_string_lossy(), "HOME");
        told += "\n";
    }
    assert!(!told.contains("secret"), "{told}");
    insta::assert_snapshot!(told);
}
