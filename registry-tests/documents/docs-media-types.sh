# needs: registry roots cc oras
# An image, and the specification of an application.
. "$DOCUMENTS/application.sh"
make_app app
push_app /srv/bookworm ghcr.io/org/app:1.0
compat gen ./app -o compat.json
# The registry of a test has no certificate.
oras() { command oras "$1" --plain-http "${@:2}"; }
