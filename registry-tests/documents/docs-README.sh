# needs: registry roots fuse cc
# The application `app`, as a directory and as an image in the registry.
. "$DOCUMENTS/application.sh"
make_app app
printf 'a,b\n1,2\n3,4\n' >data.csv
push_app /srv/bookworm ghcr.io/org/app:1.0
