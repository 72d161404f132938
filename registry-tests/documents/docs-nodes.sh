# needs: registry roots cc docker
# An index with an artifact for this platform, an image with an older C library than its program needs, and one without
# an artifact.
. "$DOCUMENTS/application.sh"
image="$(mktemp -d)"
make_app "$image/app"
copy_libc /srv/bookworm "$image"
printf 'a,b\n1,2\n3,4\n' >"$image/data.csv"
push_index registry.example/org/app:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
compat -q attach --generate --platform linux/amd64 registry.example/org/app:1.0 >/dev/null
push_image registry.example/org/other:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
tool="$(mktemp)"
compat -q gen "$image/app" -o "$tool"
compat -q push registry.example/org/tool-compat:1.0 "$tool" >/dev/null
rm "$tool"
rm -r "${image:?}"/lib*
copy_libc /srv/bullseye "$image"
push_image registry.example/org/solver:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
compat -q attach --generate registry.example/org/solver:1.0 >/dev/null
rm -r "$image"
checked-run() { examples/docker/checked-run "$@"; }
