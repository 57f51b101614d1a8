//! `/lib` is a link into `/usr`, as in Wolfi and in Alpine after 3.23: no layer puts a folder in its place.

use std::fs;

use crate::support::{
    Home,
    fake_repo::{Package, Repo},
    run,
    tree::{Kind, Tree},
    workbench::{json, noise, temporary, text},
};

/// A package with the links of a merged `/usr`.
fn merged() -> Package {
    Package::new("a", "1-r0").dir("usr/lib", 0o755).symlink("lib", "usr/lib").symlink("lib64", "usr/lib")
}

/// An image of `packages` and an app of the files `app`: the titles of its layers, and what they make.
fn built(packages: Vec<Package>, app: &[&str], options: &[&str]) -> (Vec<String>, Tree) {
    let (home, dir) = (Home::new(), temporary());
    let names: Vec<&str> = ["a", "b", "c"][..packages.len()].to_vec();
    let keys = packages.into_iter().fold(Repo::new(), Repo::with).publish(dir.path());
    Repo::new().beside("community").publish(dir.path());
    let recipe =
        format!("name = \"a\"\ndescription = \"-\"\n[base.alpine]\npackages = {names:?}\n[app]\ncmd = [\"/run/x\"]\n");
    fs::write(home.path().join("a.toml"), recipe).expect("a recipe");
    for file in app {
        let path = home.path().join("app").join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, *file).expect("a file");
    }
    let mut command =
        home.microbuild(["./a.toml", "app", "--base", "alpine:3.23", "--platform", "linux/amd64", "--json"]);
    command.args(["-o", "oci:out", "--mirror", &text(dir.path()), "--keys"]).arg(keys).args(options);
    let layers = json(&run(&mut command))["layers"].as_array().expect("layers").clone();
    let titles = layers.iter().map(|layer| layer["title"].as_str().expect("a title").to_owned());
    (titles.collect(), Tree::of_layout(&home.path().join("out")))
}

#[track_caller]
fn assert_is_link(tree: &Tree) {
    for link in ["lib", "lib64"] {
        assert_eq!(tree.get(link).map(|inode| &inode.kind), Some(&Kind::Symlink("usr/lib".into())), "{link}");
        assert!(!tree.describe().keys().any(|path| path.starts_with(&format!("{link}/"))), "something below {link}");
    }
}

#[test]
fn a_package_with_a_folder_in_place_of_the_link_is_no_layer_as_it_stands() {
    let large = |path: &str| Package::new("b", "1-r0").file(path, 0o755, noise(3, 2 << 20));
    let (titles, tree) = built(vec![merged(), large("usr/lib/x")], &["main"], &[]);
    assert_eq!(titles, ["b-1-r0", "system", "app"]);
    assert_is_link(&tree);
    for path in ["lib/x", "lib64/x"] {
        let (titles, again) = built(vec![merged(), large(path)], &["main"], &[]);
        assert_eq!(titles, ["system", "app"], "{path}");
        assert_is_link(&again);
        assert_eq!(tree.get("usr/lib/x").map(|inode| &inode.kind), again.get("usr/lib/x").map(|inode| &inode.kind));
    }
    // The links in a layer of their package's own, and another package's files below them.
    let with_links = merged().file("usr/lib/large", 0o755, noise(4, 2 << 20));
    let (titles, tree) = built(vec![with_links, Package::new("b", "1-r0").file("lib/x", 0o755, "x")], &["main"], &[]);
    assert_eq!(titles, ["a-1-r0", "system", "app"]);
    assert_is_link(&tree);
    assert_eq!(tree.text("usr/lib/x"), "x");
}

#[test]
fn an_app_below_a_link_lies_where_that_leads() {
    let packages = || vec![merged(), Package::new("b", "1-r0").file("lib/x", 0o755, "x")];
    let (_, tree) = built(packages(), &["main", "deep/er"], &["--workdir", "/lib/app"]);
    assert_is_link(&tree);
    assert_eq!((tree.text("usr/lib/app/main"), tree.text("usr/lib/app/deep/er")), ("main", "deep/er"));

    let (_, tree) = built(packages(), &["main", "lib/own.so", "lib64/deep/own.so"], &["--workdir", "/"]);
    assert_is_link(&tree);
    assert_eq!(tree.text("main"), "main");
    assert_eq!((tree.text("usr/lib/own.so"), tree.text("usr/lib/deep/own.so")), ("lib/own.so", "lib64/deep/own.so"));
}
