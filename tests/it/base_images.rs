//! `microbuild base`: a language's base image without an app.

use std::process::Command;

use serde_json::Value;

use super::deb_mirror::has_release;
use crate::support::{
    docker_registry::{DockerRegistry, Wishes},
    run, tools,
    workbench::{Workbench, json},
};

/// `microbuild base node`.
fn base(bench: &Workbench, options: &[&str]) -> Value {
    let mut command = bench.home.microbuild(["base", "node", "--json"]);
    json(&run(bench.sources(&mut command).args(options)))
}

/// The tags for Node's version in an image, as it was built.
fn tags(built: &Value) -> [String; 3] {
    let node = built["packages"].as_array().expect("packages").iter().find(|row| row["name"] == "nodejs");
    let version = node.and_then(|row| row["version"].as_str()).expect("a version");
    let version = version.split(['-', '+']).next().expect("a part");
    let parts: Vec<&str> = version.split('.').collect();
    [version.to_owned(), parts[..2].join("."), parts[0].to_owned()]
}

fn config(bench: &Workbench, name: &str) -> Value {
    json(&bench.microbuild(["inspect", name]))["images"][0]["config"]["config"].clone()
}

#[test]
fn a_base_image_has_its_version_in_its_tags() {
    let Some(bench) = Workbench::alpine() else { return };
    let built = base(&bench, &[]);
    let tags = tags(&built);
    assert_eq!(built["names"], serde_json::json!(tags.each_ref().map(|tag| format!("node:{tag}"))));
    let mut titles = built["layers"].as_array().expect("layers").iter().map(|layer| layer["title"].clone());
    assert_eq!(titles.next_back(), Some("system".into()), "no app");
    let config = config(&bench, &format!("node:{}", tags[0]));
    assert_eq!((&config["User"], &config["Cmd"]), (&"65532:65532".into(), &serde_json::json!(["node"])));
    if tools(["runc"]).is_some() {
        let said = bench.microbuild(["run", "-q", &format!("node:{}", tags[2]), "--", "node", "-p", "6*7"]);
        assert_eq!(said.succeeds(), "42\n");
    }
}

#[test]
fn its_dev_variant_has_the_languages_tools() {
    if !has_release("bookworm", "amd64") {
        return;
    }
    let bench = Workbench::debian("bookworm");
    let built = base(&bench, &["--dev", "-t", "team/node", "-t", "exact:mine", "--compression", "gzip:1"]);
    let mut expected = tags(&built).map(|tag| format!("team/node:{tag}-dev")).to_vec();
    expected.push("exact:mine".into());
    assert_eq!(built["names"], serde_json::json!(expected));
    let config = config(&bench, "exact:mine");
    assert_eq!((&config["User"], &config["Cmd"]), (&"0:0".into(), &serde_json::json!(["node"])));
    assert!(!config["Env"].to_string().contains("NODE_ENV"), "tests need what development does: {config}");
    if tools(["runc"]).is_some() {
        let said = bench.microbuild(["run", "-q", "exact:mine", "--", "npm", "--version"]);
        assert_eq!(said.succeeds().trim().split('.').count(), 3, "{}", said.stdout);
    }
}

#[test]
fn all_its_tags_are_pushed() {
    let wishes = Wishes { auth: false, tls: false };
    let (Some(bench), Some(registry)) = (Workbench::alpine(), DockerRegistry::start(wishes)) else { return };
    let Some([skopeo]) = tools(["skopeo"]) else { return };
    let name = format!("{}/team/node", registry.name());
    let mut command = bench.home.microbuild(["base", "node", "--push", "-t", &name, "--json"]);
    let built = json(&run(bench.sources(&mut command)));
    let mut command = Command::new(skopeo);
    let listed = json(&run(command.args(["list-tags", "--tls-verify=false"]).arg(format!("docker://{name}"))));
    let tags: Vec<&str> = listed["Tags"].as_array().expect("tags").iter().filter_map(|tag| tag.as_str()).collect();
    let names = built["names"].as_array().expect("names");
    assert_eq!((names.len(), tags.len()), (3, 3), "{tags:?}");
    let tag_of = |name: &str| name.rsplit(':').next().expect("a tag").to_owned();
    assert!(
        names.iter().filter_map(|name| name.as_str()).all(|name| tags.contains(&tag_of(name).as_str())),
        "{tags:?}"
    );
}

#[test]
fn the_app_that_lies_beside_it_says_nothing_of_a_base_image() {
    let Some(bench) = Workbench::alpine() else { return };
    std::fs::write(bench.path("microbuild.toml"), "tag = \"app:1\"\nenv = { A = 1 }\npackage = \"nothing\"\n")
        .expect("a file");
    let mut command = bench.home.microbuild(["base", "node", "--json"]);
    let built = json(&run(bench.sources(&mut command).current_dir(bench.dir.path())));
    assert!(built["names"][0].as_str().expect("a name").starts_with("node:"), "{built}");
    let config = config(&bench, built["names"][0].as_str().expect("a name"));
    assert!(!config["Env"].to_string().contains("A=1"), "{config}");

    let told = bench.microbuild(["base", "java", "--base", "debian:bookworm"]);
    told.exits(2);
    assert!(
        told.stderr.contains("recipe java has no base image, because each app brings its own runtime"),
        "{}",
        told.stderr
    );
}
