# needs: registry roots fuse cc git
# The application `app`, as a directory and as an image in the registry.
. "$DOCUMENTS/application.sh"
make_app app
printf 'a,b\n1,2\n3,4\n' >data.csv
mkdir image
cp -r app image/app
copy_libc /srv/bookworm image
push_image ghcr.io/org/app:1.0 image '{"Entrypoint":["/app/bin/app"]}'
rm -r image
