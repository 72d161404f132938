# needs: registry roots cc
# Images as a pipeline has just pushed them, and a saved host.
. "$DOCUMENTS/application.sh"
image="$(mktemp -d)"
make_app "$image/app"
copy_libc /srv/bookworm "$image"
push_image registry.example/org/app:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
rm "$image/app/lib/libtable.so.1"
push_image registry.example/org/broken:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
rm -r "$image"
compat host --root /srv/bookworm --minimal -o node.json.zst
export REGISTRY_TOKEN=secret
