# needs: registry roots cc
# An image with an artifact, and an artifact with a tag of its own.
. "$DOCUMENTS/application.sh"
make_app app
push_app /srv/bookworm ghcr.io/org/app:1.0
compat -q attach --generate ghcr.io/org/app:1.0 >/dev/null
compat gen ./app -o compat.json
