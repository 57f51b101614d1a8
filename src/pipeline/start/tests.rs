//! Starts in root filesystems that are lists of files.

use super::{
    files::{Format, Kind, Listing, Node, Root},
    made_start,
    resolve::Starter,
};
use crate::{
    elf::{Elf, testing::Draft},
    sandbox::Ids,
};

/// A root filesystem: `PATH`, `PATH MODE`, `PATH MODE FIRST LINE`, `PATH -> TARGET`, `PATH/`. Without a mode, a file is an
/// executable program.
fn listing(lines: &[&str]) -> Listing {
    let node = |line: &str| {
        let (path, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(target) = rest.strip_prefix("-> ") {
            return (path.to_owned(), Node { kind: Kind::Link(target.to_owned()), mode: 0o777, uid: 0, gid: 0 });
        }
        let (mode, content) = rest.split_once(' ').unwrap_or((rest, ""));
        let mode = u32::from_str_radix(mode, 8).unwrap_or(0o755);
        let elf = |draft: Draft| {
            Kind::File(Format::Elf(Box::new(Elf::of_bytes(&draft.bytes()).expect("ELF").expect("a program"))))
        };
        let kind = match content {
            _ if path.ends_with('/') => Kind::Folder,
            _ if mode & 0o111 == 0 => Kind::Plain,
            "" => elf(Draft::new().machine(62)),
            "arm" => elf(Draft::new().machine(183)),
            "text" => Kind::File(Format::Other),
            loader if loader.starts_with("/lib") => elf(Draft::new().machine(62).interpreter(loader)),
            line => Kind::File(Format::Script(line.trim_start_matches("#!").to_owned())),
        };
        (path.trim_end_matches('/').to_owned(), Node { kind, mode, uid: 0, gid: 0 })
    };
    Listing(lines.iter().map(|line| node(line)).collect())
}

const PACKAGES: &[&str] = &[
    "bin -> usr/bin",
    "root/ 700",
    "root/tool",
    "usr/bin/node",
    "usr/bin/nodejs -> node",
    "usr/bin/python3 -> python3.11",
    "usr/bin/python3.11",
    "usr/bin/odd 755 text",
    "usr/bin/private 750",
    "usr/bin/broken -> nothing",
    "usr/bin/round -> round",
    "usr/share/npm/cli.js 755 #!/usr/bin/env node",
    "usr/bin/npm -> ../share/npm/cli.js",
    "usr/lib/ld.so",
    "lib -> usr/lib",
];

const APP: &[&str] = &[
    "app/",
    "app/server.js 644",
    "app/lib/",
    "app/lib/index.js 644",
    "app/app.py 644",
    "app/start.sh 755 #!/bin/sh",
    "app/plain.sh 644",
    "app/node.js 755 #!/usr/bin/env node",
    "app/both.js 755 #!/usr/bin/env -S node --no-warnings",
    "app/set.js 755 #!/usr/bin/env -S A=1 node",
    "app/one.js 755 #!/usr/bin/env node --no-warnings",
    "app/ruby.rb 755 #!/usr/bin/env ruby",
    "app/direct.js 755 #!/usr/bin/node",
    "app/spaced.js 755 #! /usr/bin/node --x",
    "app/old.js 755 #!/usr/local/bin/node",
    "app/dos.js 755 #!/usr/bin/node\r",
    "app/dosenv.js 755 #!/usr/bin/env node\r",
    "app/chain 755 #!/app/direct.js",
    "app/loop 755 #!/app/loop",
    "app/text 755 text",
    "app/arm 755 arm",
    "app/loaded 755 /lib/ld.so",
    "app/unloaded 755 /lib64/ld-linux-x86-64.so.2",
    "app/bin/",
    "app/bin/tool 755 #!/usr/bin/python3",
    "app/link -> start2",
    "app/start2",
    "app/A=1",
];

fn started(packages: &[&str], user: u32, words: &[&str]) -> String {
    let root = Root { packages: vec![listing(packages)], made: vec![listing(APP)], own: None };
    let user = Ids { uid: user, gid: user, ..Ids::default() };
    let starter =
        Starter { root: &root, user: &user, path: "/app/bin:/usr/local/bin:/usr/bin", workdir: "/app", arch: "amd64" };
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    match starter.command(&words) {
        Ok(None) => "ok".to_owned(),
        Ok(Some(words)) => words.join(" "),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn commands_are_looked_up_as_a_kernel_would() {
    for (command, expected) in [
        ("node server.js", "ok"),
        ("nodejs server.js", "ok"),
        ("node server", "ok"),
        ("node lib", "ok"),
        ("node ./lib/../server.js", "ok"),
        ("node /app/server.js", "ok"),
        ("node", "ok"),
        ("node -e x", "ok"),
        ("/usr/bin/node server.js", "ok"),
        ("/bin/node server.js", "ok"),
        ("python3 app.py", "ok"),
        ("python3.11 -u app.py", "ok"),
        ("tool", "ok"),
        ("bin/tool", "ok"),
        ("./link", "ok"),
        ("./start2", "ok"),
        ("./direct.js", "ok"),
        ("./spaced.js", "ok"),
        ("./chain", "ok"),
        ("./loaded", "ok"),
        ("odd", "ok"),
        ("/app/A=1", "ok"),
        ("node /tmp/x.js", "ok"),
        ("/run/mounted/tool x", "ok"),
        ("node serve.js", "`node` would not find serve.js"),
        ("node src/server.js", "`node` would not find src/server.js"),
        ("node --env-file=.env server.js", "`node` would not find .env"),
        ("/usr/bin/node nothing", "`/usr/bin/node` would not find nothing"),
        ("python3 main.py", "`python3` would not find main.py"),
        ("python app.py", "it has no command `python`"),
        ("npx serve", "it has no command `npx`"),
        ("sh start.sh", "it has no command `sh`"),
        ("start.sh", "it has no command `start.sh`"),
        ("broken", "it has no command `broken`"),
        ("round", "it has no command `round`"),
        ("A=1 node server.js", "`A=1` sets a variable and is no command"),
        ("./nothing", "it has no file /app/nothing"),
        ("/usr/local/bin/x", "it has no file /usr/local/bin/x"),
        ("./server.js/x", "it has no file /app/server.js/x"),
        ("./bin", "/app/bin is a folder"),
        ("/app", "/app is a folder"),
        ("./plain.sh", "/app/plain.sh is not executable"),
        ("/root/tool", "the user 1000 may not execute /root/tool"),
        ("private", "the user 1000 may not execute /usr/bin/private"),
        ("./start.sh", "/app/start.sh begins with `#!/bin/sh`, and the image has no /bin/sh"),
        ("./old.js", "/app/old.js begins with `#!/usr/local/bin/node`, and the image has no /usr/local/bin/node"),
        (
            "./dos.js",
            "the first line of /app/dos.js ends in CR LF, so that its interpreter would be `/usr/bin/node\\r`",
        ),
        (
            "./dosenv.js",
            "the first line of /app/dosenv.js ends in CR LF, so that its interpreter would be `/usr/bin/env\\r`",
        ),
        ("./loop", "/app/loop is neither a program nor a script that begins with `#!`"),
        ("./text", "/app/text is neither a program nor a script that begins with `#!`"),
        ("./arm", "/app/arm is a program for another processor than amd64"),
        ("./unloaded", "/app/unloaded needs the loader /lib64/ld-linux-x86-64.so.2, which is not there"),
        // Scripts for env, which this image does not have.
        ("./node.js x y", "node ./node.js x y"),
        ("./both.js x", "node --no-warnings ./both.js x"),
        ("npm start", "node /usr/bin/npm start"),
        ("./set.js", "/app/set.js begins with `#!/usr/bin/env -S A=1 node`, and the image has no /usr/bin/env"),
        (
            "./one.js",
            "/app/one.js begins with `#!/usr/bin/env node --no-warnings`, and the image has no node --no-warnings",
        ),
        ("./ruby.rb", "/app/ruby.rb begins with `#!/usr/bin/env ruby`, and the image has no ruby"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(started(PACKAGES, 1000, &words), expected, "{command}");
    }
    assert_eq!(started(PACKAGES, 1000, &[]), "ok");
    assert_eq!(started(PACKAGES, 1000, &[""]), "it has no command ``");
    assert_eq!(started(PACKAGES, 0, &["/root/tool"]), "ok", "root may enter its home");
    assert_eq!(started(PACKAGES, 0, &["private"]), "ok");
}

#[test]
fn a_shell_and_env_start_what_they_name() {
    let more = ["usr/bin/sh", "usr/bin/env", "usr/bin/dash", "usr/bin/tini"];
    let packages = [PACKAGES, &more].concat();
    for (command, expected) in [
        ("./start.sh", "ok"),
        ("./node.js x", "ok"),
        ("./set.js", "ok"),
        ("npm start", "ok"),
        ("./ruby.rb", "/app/ruby.rb begins with `#!/usr/bin/env ruby`, and the image has no ruby"),
        ("sh start.sh", "ok"),
        ("sh plain.sh", "ok"),
        ("sh tool", "ok"),
        ("sh nothing.sh", "`sh` would not find nothing.sh"),
        ("sh -c|exec node $X", "ok"),
        ("sh -c|exec gunicorn -b :$PORT app:app", "it has no command `gunicorn`"),
        ("sh -c|cd lib && node index.js", "ok"),
        ("sh -c|cd lib && ./index", "ok"),
        ("sh -c|node x; ruby y", "it has no command `ruby`"),
        ("sh -c|ruby x || true", "ok"),
        ("sh -c|./plain.sh", "/app/plain.sh is not executable"),
        ("sh -c|$X y", "ok"),
        ("env A=1 node server.js", "ok"),
        ("env A=1 ruby x.rb", "it has no command `ruby`"),
        ("tini -g -- node serve.js", "`node` would not find serve.js"),
        ("tini -- node server.js", "ok"),
    ] {
        let (first, line) = command.split_once('|').map_or((command, None), |(first, line)| (first, Some(line)));
        let words: Vec<&str> = first.split(' ').chain(line).collect();
        assert_eq!(started(&packages, 1000, &words), expected, "{command}");
    }
}

#[test]
fn a_procfile_may_call_the_program_that_was_made_otherwise() {
    let root = Root { packages: vec![listing(&["bin/sh"])], made: vec![listing(&["app/app", "app/two"])], own: None };
    let user = Ids::default();
    let starter = Starter { root: &root, user: &user, path: "/usr/bin", workdir: "/app", arch: "amd64" };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (command, made, expected) in [
        (words("bin/server -x 1"), "./app", "./app -x 1"),
        (words("server"), "./app", "./app"),
        (words("./target/release/server --port 80"), "./app", "./app --port 80"),
        (words("bun index.ts"), "./app", "./app"),
        (words("bin/server"), "./nothing", "-"),
        (words("bin/server"), "", "-"),
        (
            vec!["/bin/sh".into(), "-c".into(), "exec bin/server -p $PORT".into()],
            "./app",
            "/bin/sh -c exec ./app -p $PORT",
        ),
        (
            vec!["/bin/sh".into(), "-c".into(), "./two && A=1 exec bin/server -p $PORT".into()],
            "./app",
            "/bin/sh -c ./two && A=1 exec ./app -p $PORT",
        ),
        (vec!["/bin/sh".into(), "-c".into(), "exec bun run x --port $PORT".into()], "./app", "./app"),
    ] {
        let made: Vec<String> = made.split_whitespace().map(str::to_owned).collect();
        let start = made_start(&starter, &command, &made);
        let shown = start.map(|start| start.instead.unwrap_or_default().join(" "));
        assert_eq!(shown.as_deref().unwrap_or("-"), expected, "{command:?}");
    }
}

#[test]
fn what_a_layer_holds_is_remembered_as_it_is() {
    let listing = listing(APP);
    let text = serde_json::to_string(&listing).expect("JSON");
    assert_eq!(serde_json::from_str::<Listing>(&text).expect("a listing"), listing);
    assert!(text.contains(r#""app/server.js":{"m":420}"#), "{text}");
}

#[test]
fn layers_are_listed() {
    use crate::layer::Layer;
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, kind: tar::EntryType, target: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(5);
        header.set_gid(6);
        header.set_size(content.len() as u64);
        header.set_entry_type(kind);
        if target.is_empty() {
            tar.append_data(&mut header, path, content).expect("a member");
        } else {
            tar.append_link(&mut header, path, target).expect("a member");
        }
    };
    use tar::EntryType as T;
    add("etc/", 0o755, T::Directory, "", b"");
    add("etc/passwd", 0o644, T::Regular, "", b"root:x:0:0\n");
    add("a", 0o755, T::Regular, "", b"#!/bin/sh -e\nexit\n");
    add("b", 0o755, T::Link, "a", b"");
    add("c", 0o777, T::Symlink, "a", b"");
    add("d", 0o644, T::Regular, "", b"#!/bin/sh\n");
    add("e", 0o755, T::Regular, "", &Draft::new().interpreter("/lib/ld.so").needed("x").bytes());
    add("f", 0o755, T::Regular, "", b"\x7fELF?");
    add("g", 0o755, T::Regular, "", b"");
    let bytes = tar.into_inner().expect("a tar");
    let digest = crate::digest::Digest::of(&bytes);
    let layer = Layer {
        digest,
        diff_id: digest,
        size: bytes.len() as u64,
        media_type: "application/vnd.oci.image.layer.v1.tar".into(),
        title: "x".into(),
        content: std::sync::Arc::new(bytes),
    };
    let listing = Listing::of_layer(&layer).expect("a listing");
    let kind = |path: &str| listing.0.get(path).map(|node| node.kind.clone()).unwrap_or_default();
    let script = Kind::File(Format::Script("/bin/sh -e".into()));
    assert_eq!([kind("a"), kind("b")], [script.clone(), script]);
    assert_eq!(kind("c"), Kind::Link("a".into()));
    assert_eq!([kind("d"), kind("etc")], [Kind::Plain, Kind::Folder]);
    assert_eq!(kind("etc/passwd"), Kind::Text("root:x:0:0\n".into()));
    assert!(matches!(kind("e"), Kind::File(Format::Elf(elf)) if elf.interpreter.as_deref() == Some("/lib/ld.so")));
    assert_eq!([kind("f"), kind("g")], [Kind::File(Format::BadElf), Kind::File(Format::Other)]);
    assert_eq!((listing.0["a"].uid, listing.0["a"].gid, listing.0["a"].mode), (5, 6, 0o755));
}
