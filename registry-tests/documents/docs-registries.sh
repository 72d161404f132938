# needs: registry roots cc
# An image with an artifact, and an artifact with a tag of its own.
. "$DOCUMENTS/application.sh"
make_app app
image="$(mktemp -d)"
cp -r app "$image/app"
copy_libc /srv/bookworm "$image"
push_image ghcr.io/org/app:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
compat -q attach --generate ghcr.io/org/app:1.0 >/dev/null
compat gen ./app -o compat.json
rm -r "$image"
