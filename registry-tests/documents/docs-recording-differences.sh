# needs: cc fuse
# An application and its input.
. "$DOCUMENTS/application.sh"
make_app app
printf 'a,b\n1,2\n3,4\n' >data.csv
