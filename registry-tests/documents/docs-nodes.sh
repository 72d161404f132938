# needs: registry roots cc docker
# An index with an artifact for this platform, an image that needs a library of its host, and one without an artifact.
. "$DOCUMENTS/application.sh"
image="$(mktemp -d)"
make_app "$image/app"
copy_libc /srv/bookworm "$image"
printf 'a,b\n1,2\n3,4\n' >"$image/data.csv"
push_index registry.example/org/app:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
compat -q attach --generate --platform linux/amd64 registry.example/org/app:1.0 >/dev/null
rm -r "${image:?}"/*
make_simulate "$image"
copy_libc /srv/bookworm "$image"
push_image registry.example/org/simulate:1.0 "$image" '{"Entrypoint":["/bin/simulate"]}'
push_image registry.example/org/other:1.0 "$image" '{"Entrypoint":["/bin/simulate"]}'
compat -q attach --generate registry.example/org/simulate:1.0 >/dev/null
rm -r "$image"
checked-run() { examples/docker/checked-run "$@"; }
