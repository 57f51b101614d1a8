# Short names for what is done by hand.
.PHONY: test bench

test:
	tests/run

# The same job by microbuild, docker and buildah, side by side. Needs root, dockerd, buildah and docker-registry.
bench:
	cargo bench --locked --bench compare
