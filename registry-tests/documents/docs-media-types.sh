# needs: registry roots cc oras
# An image, and the specification of an application.
. "$DOCUMENTS/application.sh"
make_app app
image="$(mktemp -d)"
cp -r app "$image/app"
copy_libc /srv/bookworm "$image"
push_image ghcr.io/org/app:1.0 "$image" '{"Entrypoint":["/app/bin/app"]}'
compat gen ./app -o compat.json
rm -r "$image"
# The registry of a test has no certificate.
oras() { command oras "$1" --plain-http "${@:2}"; }
