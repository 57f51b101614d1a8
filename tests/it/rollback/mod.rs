//! Mirrors that say something else than before: older states, states of the future, other releases, suites that are gone; as
//! folders and over HTTP. [`slow`] has peers that never come to an end.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use microbuild::internals::{
    apk::revision::Revision,
    error::{Explain, Kind},
    fetch::{
        Fetcher,
        seen::{Mark, SeenError},
    },
    http::{Http, HttpOptions},
    location::Location,
    store::Store,
    ui::Ui,
};
use tempfile::TempDir;

use crate::support::{
    Finished, Home,
    fake_debian::{Archive, Deb, Signer, node_debs},
    fake_repo::{Repo, unknown_key},
    mirror_server::MirrorServer,
    run,
    workbench::{example, node_repo, temporary, text},
};

mod slow;

/// A folder with mirrors, served as well.
struct Mirrors {
    dir: TempDir,
    server: MirrorServer,
}

impl Mirrors {
    fn new() -> Self {
        let dir = temporary();
        let server = MirrorServer::start(dir.path());
        Self { dir, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The mirror `name` as the two kinds of users name it, and a home for each.
    fn users(&self, name: &str) -> [(Home, String); 2] {
        [text(&self.path(name)), format!("{}/{name}", self.server.url())].map(|mirror| (Home::new(), mirror))
    }

    /// What differs from run to run replaced.
    fn redacted(&self, said: &str) -> String {
        said.replace(&text(self.dir.path()), "DIR").replace(&self.server.url(), "DIR")
    }
}

/// `microbuild plan node` for linux/amd64.
fn plan(home: &Home, mirror: &str, keys: &Path) -> Command {
    let mut command = home.microbuild(["plan", "node", &text(&example()), "--mirror", mirror, "--keys", &text(keys)]);
    command.env("MICROBUILD_PLATFORM", "linux/amd64");
    command
}

/// Alpine's mirror `alpine` of v3.23, whose indexes describe themselves so; the folder of its keys.
fn alpine(mirrors: &Mirrors, description: &str) -> PathBuf {
    alpine_of(mirrors, "v3.23", description)
}

fn alpine_of(mirrors: &Mirrors, release: &str, description: &str) -> PathBuf {
    let dir = mirrors.path("alpine");
    node_repo().beside("community").release(release).described(description).publish(&dir);
    node_repo().release(release).described(description).publish(&dir)
}

/// The exit code for a mirror in that state.
#[track_caller]
fn in_state(mirrors: &Mirrors, (home, mirror): &(Home, String), description: &str, args: &[&str]) -> Finished {
    let keys = alpine(mirrors, description);
    run(plan(home, mirror, &keys).args(args))
}

const OLD: &str = "v3.23.0-12-gaaaa";
const NEW: &str = "v3.23.0-45-gbbbb";

#[test]
fn an_older_index_of_alpine_is_refused() {
    let mirrors = Mirrors::new();
    for user in mirrors.users("alpine") {
        let at = |description: &str, args: &[&str]| in_state(&mirrors, &user, description, args);
        // The solution for the old index is remembered, too.
        for description in [OLD, NEW, NEW, "main v3.23.0-45-gbbbb"] {
            assert_eq!(at(description, &[]).succeeds().lines().count(), 10, "{description}");
        }
        for description in [OLD, "v3.23.0", "v3.23.0_rc5-100-gcccc"] {
            let refused = at(description, &[]);
            assert_eq!(refused.exits(4), "", "{description}");
            let said = mirrors.redacted(&refused.stderr);
            assert_eq!(
                said,
                format!(
                    "error: DIR/alpine/v3.23/main/x86_64/APKINDEX.tar.gz: it is older than before: \
                     now of {description}, before of {NEW}\nhint: older packages have holes that are closed since: \
                     try again later, or another --mirror; if it was set back on purpose, --allow-rollback accepts it\n"
                )
            );
        }
        // One that says nothing of its age may be as old.
        let refused = at("my packages", &[]);
        assert_eq!(refused.exits(4), "");
        assert!(refused.stderr.contains("it does not say how old it is"), "{}", refused.stderr);
        // What is refused takes no place: what was there before is.
        at(NEW, &[]).succeeds();
        if user.1.starts_with("http") {
            alpine(&mirrors, OLD);
            at(OLD, &["--offline"]).succeeds();
        }
        // What is allowed is remembered.
        let allowed = at(OLD, &["--allow-rollback"]);
        allowed.succeeds();
        assert_eq!(allowed.stderr.matches("accepted because of --allow-rollback").count(), 2, "{}", allowed.stderr);
        assert_eq!(at(OLD, &[]).stderr, "");
        at("v3.23.0-11-gaaaa", &[]).exits(4);
        let keys = alpine(&mirrors, "v3.23.0-11-gaaaa");
        run(plan(&user.0, &user.1, &keys).env("MICROBUILD_ALLOW_ROLLBACK", "1")).succeeds();
        at("v3.23.0-11-gaaaa", &[]).succeeds();
        at("my packages", &["--allow-rollback"]).succeeds();
        at("v3.23.0-3-gaaaa", &[]).succeeds();
    }
}

/// `text` of a Release: so many days from now.
fn days(from_now: i64) -> String {
    let time = Timestamp::now() + SignedDuration::from_hours(24 * from_now);
    time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

/// Debian's mirror `debian`.
struct Debian<'m> {
    mirrors: &'m Mirrors,
    signer: Arc<Signer>,
}

impl<'m> Debian<'m> {
    /// With security updates, of which nothing is said here.
    #[track_caller]
    fn new(mirrors: &'m Mirrors) -> Option<Self> {
        let debian = Self { mirrors, signer: Signer::shared()? };
        debian.security("Sat, 17 May 2025 09:20:01 UTC");
        Some(debian)
    }

    fn dir(&self) -> PathBuf {
        self.mirrors.path("debian")
    }

    fn publish(&self, archive: &Archive) {
        archive.publish(&self.dir(), &self.signer);
    }

    /// bookworm of that date.
    fn dated(&self, date: &str) {
        self.publish(&Archive::new("bookworm").with_all(node_debs()).set("Date", date));
    }

    /// The security updates of that date, in an archive of their own beside the mirror.
    fn security(&self, date: &str) {
        let archive = Archive::new("bookworm-security").with(netbase("6.4+deb12u1")).set("Date", date);
        archive.publish(&self.mirrors.path("debian-security"), &self.signer);
    }

    fn plan(&self, (home, mirror): &(Home, String), args: &[&str]) -> Finished {
        let mut command = plan(home, mirror, &self.dir().join("keys.asc"));
        run(command.env("MICROBUILD_BASE", "debian:bookworm").args(args))
    }
}

fn netbase(version: &str) -> Deb {
    Deb::new("netbase", version).arch("all").file("etc/services", 0o644, version)
}

#[test]
fn an_older_release_of_debian_is_refused() {
    let mirrors = Mirrors::new();
    let Some(debian) = Debian::new(&mirrors) else { return };
    let (old, new) = ("Sat, 17 May 2025 09:20:01 UTC", "Sun, 18 May 2025 09:20:01 UTC");
    for user in mirrors.users("debian") {
        for date in [old, new, new] {
            debian.dated(date);
            assert_eq!(debian.plan(&user, &[]).stderr, "", "{date}");
        }
        debian.dated(old);
        let refused = debian.plan(&user, &[]);
        assert_eq!(refused.exits(4), "");
        assert_eq!(
            mirrors.redacted(&refused.stderr),
            "error: DIR/debian/dists/bookworm/InRelease: it is older than before: now of 2025-05-17T09:20:01Z, before \
             of 2025-05-18T09:20:01Z\nhint: older packages have holes that are closed since: try again \
             later, or another --mirror; if it was set back on purpose, --allow-rollback accepts it\n"
        );
        // Neither another form of signature nor a missing date helps.
        let suite = debian.dir().join("dists/bookworm");
        fs::remove_dir_all(&suite).expect("a folder");
        debian.publish(&Archive::new("bookworm").with_all(node_debs()).detached());
        let refused = debian.plan(&user, &[]);
        assert_eq!(refused.exits(4), "");
        assert!(refused.stderr.contains("now of 2025-05-17T09:20:01Z"), "{}", refused.stderr);
        fs::remove_dir_all(&suite).expect("a folder");
        debian.dated("");
        let refused = debian.plan(&user, &[]);
        assert_eq!(refused.exits(4), "");
        assert!(refused.stderr.contains("it does not say how old it is"), "{}", refused.stderr);

        debian.dated(old);
        if user.1.starts_with("http") {
            debian.plan(&user, &["--offline"]).succeeds();
        }
        let allowed = debian.plan(&user, &["--allow-rollback"]);
        allowed.succeeds();
        assert!(allowed.stderr.starts_with("warning: ") && allowed.stderr.contains("--allow-rollback"));
        assert_eq!(debian.plan(&user, &[]).stderr, "");
    }
}

#[test]
fn security_updates_do_not_go_back_while_the_release_stays() {
    let mirrors = Mirrors::new();
    let Some(debian) = Debian::new(&mirrors) else { return };
    debian.dated("Sat, 17 May 2025 09:20:01 UTC");
    for user in mirrors.users("debian") {
        debian.security("Sun, 18 May 2025 09:20:01 UTC");
        debian.plan(&user, &[]).succeeds();
        debian.security("Sat, 17 May 2025 09:20:01 UTC");
        let refused = debian.plan(&user, &[]);
        assert_eq!(refused.exits(4), "");
        assert!(refused.stderr.contains("bookworm-security/InRelease: it is older than before: now of 2025-05-17"));
    }
}

#[test]
fn a_frozen_mirror_is_noticed_when_its_release_expires() {
    let mirrors = Mirrors::new();
    let Some(debian) = Debian::new(&mirrors) else { return };
    let until = (Timestamp::now() + SignedDuration::from_secs(6)).strftime("%a, %d %b %Y %H:%M:%S UTC").to_string();
    debian.publish(&Archive::new("bookworm").with_all(node_debs()).set("Valid-Until", &until));
    let users = mirrors.users("debian");
    for user in &users {
        debian.plan(user, &[]).succeeds();
    }
    thread::sleep(Duration::from_secs(7));
    mirrors.server.take_requests();
    for user in &users {
        let refused = debian.plan(user, &[]);
        assert_eq!(refused.exits(4), "");
        assert!(refused.stderr.contains("it was valid until"), "{}", refused.stderr);
        // Nor does it help to allow older states: nothing is older than before.
        debian.plan(user, &["--allow-rollback"]).exits(4);
    }
    let requests = mirrors.server.take_requests();
    assert!(requests.iter().any(|r| r.status == 304 && r.path.ends_with("/bookworm/InRelease")), "{requests:?}");
}

#[test]
fn a_release_of_the_future_is_refused_and_not_remembered() {
    let mirrors = Mirrors::new();
    let Some(debian) = Debian::new(&mirrors) else { return };
    for user in mirrors.users("debian") {
        for date in [days(3650), days(2)] {
            debian.dated(&date);
            let refused = debian.plan(&user, &["--allow-rollback"]);
            assert_eq!(refused.exits(4), "");
            assert!(refused.stderr.contains("bookworm/InRelease: it is dated "));
            assert!(refused.stderr.contains("hint: this machine's clock is wrong, or the archive's is"));
        }
        debian.dated(&days(-1));
        debian.plan(&user, &[]).succeeds();
        // Clocks differ a little.
        let date = (Timestamp::now() + SignedDuration::from_hours(20)).strftime("%a, %d %b %Y %H:%M:%S UTC");
        debian.dated(&date.to_string());
        debian.plan(&user, &[]).succeeds();
    }
}

#[test]
fn an_index_must_be_that_of_the_release() {
    let mirrors = Mirrors::new();
    for (release, description, code) in [
        ("v3.23", "v3.15.4-45-gaaaa", 4),
        ("v3.23", "main v3.15.4", 4),
        ("v3.23", "v3.24.0", 4),
        ("v3.23", "v20250108-2345-gaaaa", 4),
        ("v3.23", "v3.23.0_rc1-2-gaaaa", 0),
        ("v3.23", "my packages 3.15", 0),
        ("v3.23", "", 0),
        ("edge", "v20250108-2345-gaaaa", 0),
        ("edge", "v3.24.0-1030-gaaaa", 0),
        ("edge", "v3.15.4-45-gaaaa", 4),
        ("latest-stable", "v3.24.1-3-gaaaa", 0),
        ("latest-stable", "v20250108-2345-gaaaa", 4),
    ] {
        let base = format!("alpine:{}", release.trim_start_matches('v'));
        let keys = alpine_of(&mirrors, release, description);
        for (home, mirror) in mirrors.users("alpine") {
            let found = run(plan(&home, &mirror, &keys).args(["--base", &base]));
            assert_eq!(found.code, Some(code), "{release} {description}: {}", found.stderr);
            if code == 4 {
                let named = description.rsplit(' ').next().expect("a word");
                let said = format!(
                    "x86_64/APKINDEX.tar.gz: expected an index of {release}, found one that calls itself {named}\nhint: the \
                     mirror mixes up its releases"
                );
                assert!(found.stderr.contains(&said), "{}", found.stderr);
                // A mirror with a history of its own.
                run(plan(&home, &mirror, &keys).args(["--base", &base, "--allow-rollback"])).succeeds();
            }
        }
    }
}

#[test]
fn edge_changes_between_snapshots_and_releases() {
    let mirrors = Mirrors::new();
    for user in mirrors.users("alpine") {
        let at = |description: &str| {
            let keys = alpine_of(&mirrors, "edge", description);
            run(plan(&user.0, &user.1, &keys).args(["--base", "alpine:edge"])).code
        };
        for (description, code) in [
            ("v20250108-2345-gaaaa", 0),
            ("v3.24.0_rc1-5-gaaaa", 0),
            ("v20260101-1-gaaaa", 0),
            ("v20250108-9999-gaaaa", 4),
            ("v3.24.0_rc1-4-gaaaa", 4),
            ("v20260101-2-gaaaa", 0),
        ] {
            assert_eq!(at(description), Some(code), "{description}");
        }
    }
}

#[test]
fn further_repositories_of_alpine_have_their_own_words() {
    let mirrors = Mirrors::new();
    let keys = alpine(&mirrors, NEW);
    for (home, mirror) in mirrors.users("alpine") {
        let at = |folder: &str, description: &str, args: &[&str]| {
            let (release, name) = folder.split_once('/').expect("two folders");
            Repo::named(release, name, "x86_64").described(description).publish(&mirrors.path("alpine"));
            let repository = format!("{mirror}/{folder}");
            run(plan(&home, &mirror, &keys).args(["--repository", &repository]).args(args)).code
        };
        // Tags of the user's own recipes, in a folder that happens to be called as one of Alpine's.
        for (folder, description, code) in [
            ("v3.23/mine", "v1.2.3-5-gaaaa", 0),
            ("v3.23/mine", "mine v1.2.3-6-gaaaa", 0),
            ("v3.23/mine", "v1.2.3-4-gaaaa", 4),
            ("v3.23/mine", "mine", 4),
            ("v3.23/mine", "v1.3.0", 0),
            ("own/other", "anything", 0),
            ("own/other", "", 0),
            ("own/other", "anything else", 0),
        ] {
            assert_eq!(at(folder, description, &[]), Some(code), "{folder} {description}");
        }
        assert_eq!(at("v3.23/mine", "mine", &["--allow-rollback"]), Some(0));
        assert_eq!(at("v3.23/mine", "v1.0.0", &[]), Some(0), "begins anew");
    }
}

#[test]
fn what_is_remembered_is_of_one_mirror_whatever_its_keys() {
    let mirrors = Mirrors::new();
    let home = Home::new();
    let keys = alpine(&mirrors, NEW);
    let (folder, url) = (text(&mirrors.path("alpine")), format!("{}/alpine", mirrors.server.url()));
    run(&mut plan(&home, &folder, &keys)).succeeds();
    alpine(&mirrors, OLD);
    // Mirrors lag behind each other.
    run(&mut plan(&home, &url, &keys)).succeeds();
    run(&mut plan(&home, &folder, &keys)).exits(4);
    let other = format!("{}/", folder.replace("/alpine", "/./alpine"));
    run(&mut plan(&home, &other, &keys)).exits(4);
    let mut below = plan(&home, "alpine", &keys);
    run(below.current_dir(mirrors.dir.path())).exits(4);
    run(&mut plan(&home, &url.replace("http://", "http://me:secret@"), &keys)).succeeds();
    // An older index by another key is as old.
    unknown_key().write_to(&keys);
    node_repo().described(OLD).unknown_key().publish(&mirrors.path("alpine"));
    run(&mut plan(&home, &folder, &keys)).exits(4);
    let files = fs::read_dir(home.path().join(".cache/microbuild/seen")).expect("a memory");
    for file in files {
        let text = fs::read_to_string(file.expect("an entry").path()).expect("a text");
        assert!(!text.contains("secret"), "{text}");
    }
}

/// The files of the memory, without the lock.
fn pages(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.path().join(".cache/microbuild/seen")).expect("a memory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.file_name().is_some_and(|name| name != "lock")).collect()
}

#[test]
fn no_gc_forgets_it() {
    let mirrors = Mirrors::new();
    for user in mirrors.users("alpine") {
        in_state(&mirrors, &user, NEW, &[]).succeeds();
        assert_eq!(pages(&user.0).len(), 2);
        run(&mut user.0.microbuild(["gc", "--all"])).succeeds();
        assert_eq!(pages(&user.0).len(), 2);
        in_state(&mirrors, &user, OLD, &[]).exits(4);
    }
}

#[test]
fn a_damaged_memory_is_said_and_begun_anew() {
    let mirrors = Mirrors::new();
    for user in mirrors.users("alpine") {
        in_state(&mirrors, &user, NEW, &[]).succeeds();
        for damage in ["", "{", "[]", r#"{"index": "x", "newest": ["yesterday"]}"#, "\0\0\0\0"] {
            for page in pages(&user.0) {
                fs::write(page, damage).expect("damaged");
            }
            let warned = in_state(&mirrors, &user, OLD, &["-q"]);
            warned.succeeds();
            let line = "what a mirror said before is forgotten, and is not compared this time\n";
            assert_eq!(warned.stderr.matches(line).count(), 2, "{damage}: {}", warned.stderr);
            assert_eq!(in_state(&mirrors, &user, OLD, &[]).stderr, "");
            in_state(&mirrors, &user, "v3.23.0-2-gaaaa", &[]).exits(4);
        }
        // What cannot be read at all is no new start.
        let page = pages(&user.0).remove(0);
        fs::remove_file(&page).expect("removed");
        fs::create_dir(&page).expect("a folder");
        let failed = in_state(&mirrors, &user, NEW, &[]);
        assert_eq!(failed.exits(2), "");
        assert!(failed.stderr.contains("to be this user's own, found something else"), "{}", failed.stderr);
        assert!(failed.stderr.contains(&format!("hint: remove it: `rm -r {}`", page.display())), "{}", failed.stderr);
    }
}

/// A fetcher as a process of its own has it.
fn fetcher(dir: &Path, options: HttpOptions) -> Fetcher {
    let store = Store::open(&dir.join("cache")).expect("a store");
    Fetcher::new(Http::new(options).expect("a client"), store, Ui::silent(), false)
}

fn revision(text: &str) -> Mark {
    Mark::Revision(Revision::parse(text).expect("a state"))
}

#[test]
fn builds_at_the_same_time_do_not_disturb_each_other() {
    let dir = temporary();
    let process = || fetcher(dir.path(), HttpOptions::default());
    let index = Location::new("https://mirror.example/v3.23/main/x86_64/APKINDEX.tar.gz");
    let (slow, quick) = (process(), process());
    let began = slow.seen(&index).expect("a memory");
    quick.seen(&index).expect("a memory").accept(Some(&revision(NEW))).expect("the first one");
    // It asked the mirror before the other one did.
    began.accept(Some(&revision(OLD))).expect("no older than what was known when it asked");
    slow.seen(&index).expect("a memory").accept(Some(&revision(OLD))).expect("nor is it for its next variant");
    let older = slow.seen(&index).expect("a memory").accept(Some(&revision("v3.23.0-1-gaaaa")));
    assert_eq!(older.expect_err("older than what it took itself").kind(), Kind::Unverified);
    // And has not set back what the other one found.
    let refused = process().seen(&index).expect("a memory").accept(Some(&revision(OLD))).expect_err("older");
    assert!(refused.to_string().contains(NEW), "{refused}");

    thread::scope(|scope| {
        for commits in 100..140 {
            scope.spawn(move || {
                let mark = revision(&format!("v3.23.0-{commits}-gaaaa"));
                let index = Location::new("https://mirror.example/v3.23/main/x86_64/APKINDEX.tar.gz");
                // Some come too late: that is their affair.
                let _ = process().seen(&index).expect("a memory").accept(Some(&mark));
            });
        }
    });
    let last = process();
    last.seen(&index).expect("a memory").accept(Some(&revision("v3.23.0-139-gaaaa"))).expect("the newest");
    assert!(process().seen(&index).expect("a memory").accept(Some(&revision("v3.23.0-138-gaaaa"))).is_err());
}

#[test]
fn a_suite_that_was_there_may_not_vanish() {
    let mirrors = Mirrors::new();
    let Some(debian) = Debian::new(&mirrors) else { return };
    let updates = Archive::new("bookworm-updates").with(netbase("6.4+deb12u2"));
    for user in mirrors.users("debian") {
        debian.dated("Sat, 17 May 2025 09:20:01 UTC");
        debian.security("Sat, 17 May 2025 09:20:01 UTC");
        debian.publish(&updates);
        assert_eq!(debian.plan(&user, &[]).stderr, "");
        for (archive, suite) in [("debian-security", "bookworm-security"), ("debian", "bookworm-updates")] {
            let folder = mirrors.path(archive).join("dists").join(suite);
            let kept = mirrors.path("kept");
            fs::rename(&folder, &kept).expect("hidden");
            let refused = debian.plan(&user, &[]);
            assert_eq!(refused.exits(4), "");
            assert!(mirrors.redacted(&refused.stderr).ends_with(&format!(
                "error: DIR/{archive}/dists/{suite}/InRelease: the suite that was there before, of \
                 2025-05-17T09:20:01Z, is gone\nhint: without it packages are installed whose holes it closes: try again \
                 later, or another --mirror; if it is gone for good, --allow-rollback accepts that\n"
            )));
            if user.1.starts_with("http") {
                debian.plan(&user, &["--offline"]).succeeds();
            }
            // It may come back, and it may be gone for good.
            fs::rename(&kept, &folder).expect("back");
            debian.plan(&user, &[]).succeeds();
            fs::remove_dir_all(&folder).expect("gone");
            let allowed = debian.plan(&user, &["--allow-rollback"]);
            allowed.succeeds();
            assert!(allowed.stderr.contains("is gone; accepted because of --allow-rollback"), "{}", allowed.stderr);
            assert!(!debian.plan(&user, &[]).stderr.contains("--allow-rollback"));
        }
        // The release itself has to be there anyhow.
        fs::remove_dir_all(debian.dir().join("dists/bookworm")).expect("gone");
        let refused = debian.plan(&user, &["--allow-rollback"]);
        assert_eq!(refused.exits(3), "");
        debian.dated("Fri, 16 May 2025 09:20:01 UTC");
        debian.plan(&user, &[]).exits(4);
    }
}

#[test]
fn missing_security_updates_are_said_always() {
    let mirrors = Mirrors::new();
    let Some(debian) = Debian::new(&mirrors) else { return };
    fs::remove_dir_all(mirrors.path("debian-security")).expect("gone");
    debian.dated("Sat, 17 May 2025 09:20:01 UTC");
    let unstable = Archive::new("sid").with_all(node_debs()).set("Suite", "unstable");
    debian.publish(&unstable);
    for user in mirrors.users("debian") {
        for args in [&[][..], &["-q"], &["--platform", "linux/amd64,linux/amd64"]] {
            let warned = debian.plan(&user, args);
            warned.succeeds();
            assert_eq!(
                mirrors.redacted(&warned.stderr),
                "warning: bookworm-security was not found (not at DIR/debian/dists/bookworm-security/InRelease, \
                 DIR/debian-security/dists/bookworm-security/InRelease): packages with known holes may be installed; \
                 --mirror names another mirror, --repository \"deb URL bookworm-security main\" the suite\n"
            );
        }
        if user.1.starts_with("http") {
            assert!(debian.plan(&user, &["--offline"]).stderr.starts_with("warning: bookworm-security was not found"));
        }
        assert_eq!(debian.plan(&user, &["--base", "debian:sid"]).stderr, "", "it has none");
        debian.security("Sat, 17 May 2025 09:20:01 UTC");
        let named = format!("deb file:{} bookworm-security main", text(&mirrors.path("debian-security")));
        assert_eq!(debian.plan(&user, &["--repository", &named]).stderr, "");
        fs::remove_dir_all(mirrors.path("debian-security")).expect("gone");
    }
}

#[test]
fn what_nobody_signs_is_not_remembered() {
    let mirrors = Mirrors::new();
    let Some(debian) = Debian::new(&mirrors) else { return };
    debian.dated("Sat, 17 May 2025 09:20:01 UTC");
    let user = &mirrors.users("debian")[0];
    let own = mirrors.path("own");
    let line = format!("deb [trusted=yes] file:{} stable main", text(&own));
    for date in ["Sun, 18 May 2025 09:20:01 UTC", "Sat, 17 May 2025 09:20:01 UTC"] {
        let archive = Archive::new("stable").with(Deb::new("own", "1").file("usr/bin/own", 0o755, "own"));
        archive.detached().set("Date", date).publish(&own, &debian.signer);
        fs::remove_file(own.join("dists/stable/Release.gpg")).expect("a signature");
        debian.plan(user, &["--repository", &line, "-p", "own"]).succeeds();
    }
}

#[test]
fn what_is_refused_says_what_to_do() {
    let mark = || revision(NEW);
    for error in [
        SeenError::Older { index: "x".into(), remembered: mark(), found: revision(OLD) },
        SeenError::Ageless { index: "x".into(), remembered: mark() },
        SeenError::Vanished { index: "x".into(), remembered: Some(mark()) },
        SeenError::Vanished { index: "x".into(), remembered: None },
    ] {
        assert_eq!(error.kind(), Kind::Unverified);
        assert!(error.to_string().starts_with("x: "), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--allow-rollback")), "{error}");
    }
}
