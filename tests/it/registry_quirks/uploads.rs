//! Quirks of uploads: HEADs, mounts, Locations, PUTs, PATCHes, redirects.

use microbuild::internals::{error::Kind, sink::registry::Options};

use super::{Quirk, layer_of, quirk, quirk_of};
use crate::support::fake_registry::{ALWAYS, Answer, Failure, FakeRegistry};

pub(super) fn quirks() -> Vec<Quirk> {
    [heads(), mounts(), locations(), beginnings(), puts(), patches(), redirects(), losses()]
        .into_iter()
        .flatten()
        .collect()
}

/// The first HEAD is a short cut, and so are those of blobs.
fn heads() -> Vec<Quirk> {
    let mut all = Vec::new();
    for status in [400, 401, 403, 404, 405, 406, 410, 415, 501] {
        all.push(
            quirk(format!("the HEAD of a manifest is answered with {status}"), move |r| {
                r.fail("HEAD", "/manifests/", ALWAYS, Failure::Answer(Answer::new(status)));
            })
            .asking("HEAD /v2/app/manifests/", 1)
            .asking("PUT /v2/app/manifests/1 201", 1),
        );
        all.push(
            quirk(format!("the HEADs of blobs are answered with {status}"), move |r| {
                r.fail("HEAD", "/blobs/", ALWAYS, Failure::Answer(Answer::new(status)));
            })
            .asking("PUT /v2/app/blobs/", 2),
        );
        all.push(
            quirk(format!("all HEADs are answered with {status}, and it has the image"), move |r| {
                r.fail("HEAD", "", ALWAYS, Failure::Answer(Answer::new(status)));
            })
            .again()
            .asking("PUT /v2/app/manifests/1 201", 1),
        );
    }
    all.extend([
        quirk("HEADs are answered with 500", |r| {
            r.fail("HEAD", "", ALWAYS, Failure::Answer(Answer::new(500)));
        })
        .asking("HEAD /v2/app/manifests/", 5),
        quirk("HEADs are answered with a page", |r| {
            let page = Answer::new(200).holding("text/html", "<title>Welcome</title>");
            r.fail("HEAD", "/manifests/", ALWAYS, Failure::Answer(page));
        }),
        quirk("HEADs are redirected to a page that is not there", |r| {
            r.fail("HEAD", "/manifests/", ALWAYS, Failure::Answer(Answer::new(302).with("Location", "/login")));
        }),
        quirk("HEADs are redirected in a circle", |r| {
            r.fail("HEAD", "", ALWAYS, Failure::Answer(Answer::new(302).with("Location", "")));
        }),
        quirk("the HEAD of a manifest names no digest", |r| {
            r.fail("HEAD", "/manifests/", ALWAYS, Failure::without("Docker-Content-Digest"));
        })
        .again()
        .asking("POST ", 0)
        .asking("PUT /v2/app/manifests/1 201", 1),
        quirk("the HEAD of a manifest names a digest of another kind", |r| {
            r.fail("HEAD", "/manifests/", ALWAYS, Failure::header("Docker-Content-Digest", "sha512:0123"));
        })
        .again()
        .asking("PUT /v2/app/manifests/1 201", 1),
        quirk("the HEAD of a manifest names no media type", |r| {
            r.fail("HEAD", "/manifests/", ALWAYS, Failure::without("Content-Type"));
        })
        .again()
        .asking("PUT ", 0),
        quirk("the HEADs of blobs tell no length", |r| {
            r.lose_manifest("app", "1");
            r.fail("HEAD", "/blobs/", ALWAYS, Failure::changed(|answer| answer.body.clear()));
        })
        .again()
        .asking("POST ", 0),
        quirk("HEADs are answered with 204", |r| {
            r.fail("HEAD", "", ALWAYS, Failure::Answer(Answer::new(204)));
        }),
    ]);
    all
}

fn mounts() -> Vec<Quirk> {
    let mut all = Vec::new();
    for status in [400, 401, 403, 404, 405, 409, 415, 500, 502] {
        all.push(
            quirk(format!("mounts are answered with {status}"), move |r| {
                r.fail("POST", "mount=", ALWAYS, Failure::Answer(Answer::new(status)));
            })
            .elsewhere()
            .asking("POST /v2/app/blobs/uploads/ mount", 1)
            .asking("POST ", 3),
        );
    }
    all.extend([
        quirk("mounts are taken", |_| {})
            .elsewhere()
            .asking("POST /v2/app/blobs/uploads/ mount 201", 1)
            .asking("PUT ", 2),
        quirk("mounts begin an upload", FakeRegistry::mounts_nothing).elsewhere().asking("POST ", 2),
        quirk("mounts are said to be done, and are not", |r| {
            r.fail("POST", "mount=", ALWAYS, Failure::Answer(Answer::new(201)));
        })
        .elsewhere()
        .asking("POST ", 3)
        .asking("PUT /v2/app/manifests/1", 1),
        quirk("mounts are said to be done, and are not, and HEADs are not answered", |r| {
            r.fail("POST", "mount=", ALWAYS, Failure::Answer(Answer::new(201)));
            r.fail("HEAD", "/blobs/", ALWAYS, Failure::Answer(Answer::new(405)));
        })
        .elsewhere()
        .asking("PUT /v2/app/manifests/1", 2),
        quirk("mounts are answered with 202 and no Location", |r| {
            r.fail("POST", "mount=", ALWAYS, Failure::Answer(Answer::new(202)));
        })
        .elsewhere()
        .asking("POST ", 3),
        quirk("mounts are answered with 200 and a Location", |r| {
            r.mounts_nothing();
            r.fail("POST", "mount=", ALWAYS, Failure::status(200));
        })
        .elsewhere()
        .asking("POST ", 2),
        quirk("mounts are limited", |r| {
            r.fail("POST", "mount=", 1, Failure::RetryAfter(429, "0"));
        })
        .elsewhere(),
        quirk("mounts break the connection", |r| {
            r.fail("POST", "mount=", 1, Failure::CloseAfterTaking(0));
        })
        .elsewhere(),
        quirk("mounts are redirected elsewhere", |r| {
            r.fail("POST", "mount=", 1, Failure::Answer(Answer::new(307).with("Location", "http://127.0.0.1:9/")));
        })
        .elsewhere()
        .asking("POST ", 3),
        quirk("the token server gives nothing for the repository to mount from", |r| {
            r.fail("GET", "first%3Apull", ALWAYS, Failure::Status(403, "DENIED"));
        })
        .elsewhere()
        .with_tokens(),
        quirk("mounts have another digest", |r| {
            let other = format!("sha256:{}", "0".repeat(64));
            r.fail("POST", "mount=", ALWAYS, Failure::NameDigest(other));
        })
        .elsewhere()
        .fails(Kind::Unverified, &["sha256:0000"]),
    ]);
    all
}

/// The Location of every answer to an upload is `change`d.
fn location(registry: &FakeRegistry, change: impl Fn(&str) -> String + Send + Sync + 'static) {
    let changed = Failure::changed(move |answer| {
        if let Some(location) = answer.header("Location") {
            let changed = change(location);
            answer.set("Location", changed);
        }
    });
    registry.fail("*", "/uploads/", ALWAYS, changed);
}

fn locations() -> Vec<Quirk> {
    let with = |name: &str, change: fn(&str, &str) -> String| {
        quirk(format!("Locations {name}"), move |r| {
            let address = r.name();
            location(r, move |location| change(&address, location));
            // In chunks, so that those of PATCHes are followed, too.
            r.takes_chunks_only(0, 200_000);
        })
    };
    let mut all = vec![
        with("are absolute", |address, location| format!("http://{address}{location}")),
        with("are of https on the same port", |address, location| format!("https://{address}{location}")),
        with("are of another host's words for this one", |address, location| format!("//{address}{location}")),
        with("are relative to the request", |_, location| location.rsplit('/').next().unwrap_or_default().to_owned()),
        with("begin with dots", |_, location| {
            format!("../uploads/./{}", location.rsplit('/').next().unwrap_or_default())
        }),
        with("have more in their query", |_, location| format!("{location}&x=%2F+1&y")),
        with("have a fragment", |_, location| format!("{location}#part")),
        with("have white space around them", |_, location| format!("  {location}\t")),
    ];
    for bad in ["http://", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1"] {
        all.push(
            quirk(format!("a Location is `{bad}`"), move |r| location(r, |_| bad.to_owned()))
                .fails(Kind::Network, &["Location", "does not follow the distribution specification"]),
        );
    }
    all.push(
        quirk("an upload has no Location", |r| r.fail("POST", "uploads", ALWAYS, Failure::NoLocation))
            .fails(Kind::Network, &["no Location"]),
    );
    all.push(
        quirk("a Location is a host where nothing listens", |r| {
            location(r, |_| "http://me:SECRET@127.0.0.1:9/v2/x?SECRET".to_owned());
        })
        .fails(Kind::Network, &["http://127.0.0.1:9/v2/x", "nothing listens there"]),
    );
    all
}

fn beginnings() -> Vec<Quirk> {
    let mut all = Vec::new();
    for status in [200, 201, 204] {
        all.push(quirk(format!("uploads begin with {status}"), move |r| {
            r.fail("POST", "", ALWAYS, Failure::status(status));
        }));
    }
    for (status, words) in [
        (400, vec!["NAME_INVALID"]),
        (401, vec!["microbuild login"]),
        (403, vec!["NAME_INVALID", "microbuild login"]),
        (404, vec!["NAME_INVALID", "created first"]),
        (405, vec!["405"]),
    ] {
        all.push(
            quirk(format!("uploads begin with {status}"), move |r| {
                r.fail("POST", "", ALWAYS, Failure::Status(status, "NAME_INVALID"));
            })
            .at_most("POST ", 2)
            .fails(Kind::Network, &words),
        );
    }
    all
}

/// A registry that answers blobs in one piece so.
fn no_whole(status: u16) -> impl Fn(&FakeRegistry) {
    move |registry| registry.takes_no_whole(Answer::error(status, "UNKNOWN"))
}

fn puts() -> Vec<Quirk> {
    let mut all = Vec::new();
    for status in [400, 404, 405, 411, 416, 500, 501] {
        all.push(
            quirk(format!("a blob in one piece is answered with {status}"), no_whole(status))
                .asking("PATCH /v2/app/blobs/uploads/ 202", 2)
                .asking("PATCH ", 2),
        );
    }
    for status in [502, 503, 504] {
        all.push(
            quirk(format!("a blob in one piece is answered with {status}, always"), no_whole(status))
                .asking("PATCH /v2/app/blobs/uploads/ 202", 2),
        );
    }
    for status in [200, 202, 204] {
        all.push(quirk(format!("a blob that has arrived is answered with {status}"), move |r| {
            r.fail("PUT", "/uploads/", ALWAYS, Failure::status(status));
        }));
    }
    for digest in ["", "sha512:0123", "garbage"] {
        all.push(quirk(format!("a blob that has arrived is told to be `{digest}`"), move |r| {
            r.fail("PUT", "/uploads/", ALWAYS, Failure::header("Docker-Content-Digest", digest));
        }));
    }
    let another = || Failure::NameDigest(format!("sha256:{}", "0".repeat(64)));
    all.extend([
        quirk("a blob in one piece is too large", no_whole(413)).asking("PATCH /v2/app/blobs/uploads/ 202", 3),
        quirk("a blob that has arrived is told to be nothing", |r| {
            r.fail("PUT", "/uploads/", ALWAYS, Failure::without("Docker-Content-Digest"));
        }),
        quirk("a blob that has arrived is told to be another", move |r| {
            r.fail("PUT", "/uploads/", ALWAYS, another());
        })
        .fails(Kind::Unverified, &["sha256:0000"]),
        quirk("a blob has another digest than it should", |r| {
            r.fail("PUT", "/uploads/", ALWAYS, Failure::Status(400, "DIGEST_INVALID"));
        })
        .asking("PATCH ", 0)
        .fails(Kind::Unverified, &["DIGEST_INVALID"]),
        quirk("a blob is denied", |r| r.fail("PUT", "/uploads/", ALWAYS, Failure::Status(403, "DENIED")))
            .at_most("PUT ", 2)
            .fails(Kind::Network, &["DENIED"]),
        quirk("there is no room for a blob", |r| r.fail("PUT", "/uploads/", ALWAYS, Failure::Status(507, "FULL")))
            .at_most("PUT ", 2)
            .asking("PATCH ", 0)
            .fails(Kind::Network, &["507", "FULL", "no room"]),
        quirk_of("a token has expired when the blob comes", |r, artifact| {
            let challenge = format!("Bearer realm=\"http://{}/token\",service=\"fake\"", r.name());
            let refusal = Answer::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge);
            r.fail("PUT", &layer_of(artifact), 1, Failure::Answer(refusal));
        })
        .with_tokens(),
        quirk("chunks are not known, and one piece is refused for a reason", |r| {
            r.takes_no_whole(Answer::told(400, "QUOTA", "the project is full"));
            r.fail("PATCH", "", ALWAYS, Failure::Answer(Answer::new(405)));
        })
        .fails(Kind::Network, &["400", "the project is full"]),
        quirk("neither chunks nor one piece are known", |r| {
            r.takes_no_whole(Answer::new(405));
            r.fail("PATCH", "", ALWAYS, Failure::Status(405, "NO_PATCH"));
        })
        .fails(Kind::Network, &["405", "NO_PATCH"]),
        quirk("chunks are not known, and one piece is answered with 500 at first", |r| {
            r.fail("PUT", "/uploads/", 2, Failure::Status(500, "UNKNOWN"));
            r.fail("PATCH", "", ALWAYS, Failure::Answer(Answer::new(404)));
        }),
    ]);
    all
}

fn patches() -> Vec<Quirk> {
    let chunked = |name: &str, prepare: fn(&FakeRegistry)| {
        quirk(format!("chunks: {name}"), move |r| {
            r.takes_chunks_only(0, 200_000);
            prepare(r);
        })
    };
    vec![
        chunked("answered with 200", |r| r.fail("PATCH", "", ALWAYS, ok(200))),
        chunked("answered with 201", |r| r.fail("PATCH", "", ALWAYS, ok(201))),
        chunked("answered with 204", |r| r.fail("PATCH", "", ALWAYS, ok(204))),
        chunked("answered without Location", |r| r.fail("PATCH", "", ALWAYS, Failure::without("Location"))),
        chunked("answered without Range", |r| r.fail("PATCH", "", ALWAYS, Failure::without("Range"))),
        chunked("answered with the Range of the last chunk", |r| {
            r.fail("PATCH", "", ALWAYS, Failure::header("Range", "150000-299999"));
        }),
        chunked("answered with a Range that ends one too late", |r| {
            r.fail("PATCH", "", ALWAYS, Failure::changed(|answer| ends_later(answer, 1)));
        }),
        chunked("answered with the Range of nothing", |r| r.fail("PATCH", "", ALWAYS, Failure::header("Range", "0-0"))),
        chunked("answered with a Range that is none", |r| r.fail("PATCH", "", ALWAYS, Failure::header("Range", "all"))),
        chunked("answered with a Content-Range for a Range", |r| {
            r.fail(
                "PATCH",
                "",
                ALWAYS,
                Failure::changed(|answer| {
                    let range = answer.header("Range").unwrap_or_default().to_owned();
                    answer.set("Range", format!("bytes {range}/300000"));
                }),
            );
        }),
        chunked("taken in part", |r| r.swallows(110_000)),
        chunked("too large until they are small", |r| r.takes_chunks_only(0, 70_000)),
        chunked("of a least length", |r| r.takes_chunks_only(140_000, 200_000))
            .asking("PATCH /v2/app/blobs/uploads/ 202", 3),
        chunked("always too large", |r| r.fail("PATCH", "", ALWAYS, Failure::Status(413, "SIZE_INVALID")))
            .fails(Kind::Network, &["413", "SIZE_INVALID", "limits the size"]),
        chunked("taken, and said not to be", |r| {
            r.takes_chunks_only(0, 1_000_000);
            r.fail("PATCH", "", 1, Failure::status(416));
        }),
        chunked("refused for their place, always", |r| {
            r.fail("PATCH", "", ALWAYS, Failure::Status(416, "RANGE_INVALID"));
        })
        .fails(Kind::Network, &["416"]),
        chunked("of an upload that is forgotten once", |r| {
            r.fail("PATCH", "", 1, Failure::Status(404, "BLOB_UPLOAD_UNKNOWN"));
        }),
        chunked("of uploads that are always forgotten", |r| {
            r.fail("PATCH", "", ALWAYS, Failure::Status(404, "BLOB_UPLOAD_UNKNOWN"));
        })
        .at_most("PATCH ", 8)
        .fails(Kind::Network, &["BLOB_UPLOAD_UNKNOWN"]),
        chunked("broken off once", |r| r.fail("PATCH", "", 1, Failure::CloseAfterTaking(50_000))),
        chunked("limited", |r| r.fail("PATCH", "", 1, Failure::RetryAfter(429, "0"))),
        chunked("forgotten at the end", |r| r.fail("PUT", "/uploads/", 3, Failure::Status(404, "BLOB_UPLOAD_UNKNOWN"))),
    ]
}

fn ok(status: u16) -> Failure {
    Failure::changed(move |answer| {
        if answer.status == 202 {
            answer.status = status;
        }
    })
}

fn ends_later(answer: &mut Answer, by: u64) {
    let last = answer.header("Range").and_then(|range| range.strip_prefix("0-")?.parse::<u64>().ok());
    if let Some(last) = last {
        answer.set("Range", format!("0-{}", last + by));
    }
}

fn redirects() -> Vec<Quirk> {
    let to = |status, location: &str| Failure::Answer(Answer::new(status).with("Location", location));
    let mut all = Vec::new();
    for status in [307, 308] {
        all.extend([
            quirk(format!("a POST is sent on by {status}"), move |r| {
                r.fail("POST", "/uploads/", 1, to(status, "/v2/app/blobs/uploads/?again=1"));
            }),
            quirk_of(format!("the PUT of a blob is sent on by {status}"), move |r, artifact| {
                r.fail("PUT", &layer_of(artifact), 1, to(status, ""));
            }),
            quirk(format!("a PATCH is sent on by {status}"), move |r| {
                r.takes_chunks_only(0, 200_000);
                r.fail("PATCH", "", 1, to(status, ""));
            }),
            quirk(format!("the PUT of a manifest is sent on by {status}"), move |r| {
                r.fail("PUT", "/manifests/", 1, to(status, ""));
            }),
            quirk(format!("a POST is sent elsewhere by {status}"), move |r| {
                r.fail("POST", "", ALWAYS, to(status, "http://127.0.0.1:9/v2/x?SECRET"));
            })
            .at_most("POST ", 2)
            .fails(Kind::Network, &["http://127.0.0.1:9/v2/x", "name 127.0.0.1:9 in the reference"]),
            quirk(format!("the PUT of a manifest is sent elsewhere by {status}"), move |r| {
                r.fail("PUT", "/manifests/", ALWAYS, to(status, "https://user:SECRET@127.0.0.1:9/v2/x"));
            })
            .fails(Kind::Network, &["push the manifest", "https://127.0.0.1:9/v2/x"]),
        ]);
    }
    for status in [301, 302, 303] {
        all.push(
            quirk(format!("a POST is sent to a page by {status}"), move |r| {
                r.fail("POST", "", ALWAYS, to(status, "/login?from=SECRET"));
            })
            .fails(Kind::Network, &["/login", "not a web page before it"]),
        );
    }
    all.push(
        quirk("a POST is sent on in a circle", move |r| r.fail("POST", "", ALWAYS, to(307, "")))
            .fails(Kind::Network, &["redirects more than"]),
    );
    all
}

/// What a registry has lost, or says it has.
fn losses() -> Vec<Quirk> {
    let lose_layer = |r: &FakeRegistry, artifact: &microbuild::internals::image::Artifact| {
        assert!(r.lose_blob("app", &artifact.images[0].layers[0].digest));
    };
    let verify = Options { verify: true, ..Options::default() };
    let force = Options { force: true, ..Options::default() };
    vec![
        quirk_of("a layer is lost, and its loss is looked for", lose_layer)
            .again()
            .options(verify)
            .asking("PUT /v2/app/blobs/", 1)
            .asking("PUT /v2/app/manifests/1", 1),
        quirk("nothing is lost, and a loss is looked for", |_| {}).again().options(verify).asking("P", 0),
        quirk("a layer is cut, and its loss is looked for", |r| {
            let cut = Failure::changed(|answer| answer.body.truncate(100));
            r.fail("HEAD", "/blobs/", 1, cut);
        })
        .again()
        .options(verify)
        .at_most("PUT /v2/app/blobs/", 1),
        quirk_of("a layer is lost, HEADs say that it is there, and all is sent", move |r, artifact| {
            lose_layer(r, artifact);
            r.fail("HEAD", "/blobs/", ALWAYS, Failure::status(200));
        })
        .again()
        .options(force)
        .asking("HEAD ", 0)
        .asking("PUT /v2/app/blobs/", 2)
        .asking("PUT /v2/app/manifests/1", 1),
        quirk_of("a layer is lost with the tag, and HEADs say that it is there", move |r, artifact| {
            lose_layer(r, artifact);
            r.lose_manifest("app", "1");
            r.fail("HEAD", "/blobs/", ALWAYS, Failure::status(200));
        })
        .again()
        .asking("PUT /v2/app/manifests/1", 2),
        quirk("blobs never arrive, although all is said to be well", |r| {
            r.fail("PUT", "/manifests/", ALWAYS, Failure::Status(400, "MANIFEST_BLOB_UNKNOWN"));
        })
        .at_most("PUT /v2/app/manifests/1", 2)
        .fails(Kind::Network, &["MANIFEST_BLOB_UNKNOWN", "--force"]),
        quirk("all is sent, and nothing is mounted", |_| {})
            .elsewhere()
            .options(force)
            .asking("POST ", 2)
            .asking("PUT ", 3),
    ]
}
