# needs: cc fuse
# Two recordings of an application: on the second day, another copy of its library comes first.
. "$DOCUMENTS/application.sh"
make_app app
printf 'a,b\n1,2\n3,4\n' >data.csv
mkdir patched
cp app/lib/libtable.so.1 patched/
compat record -o monday.jsonl -- ./app/bin/app data.csv >/dev/null
LD_LIBRARY_PATH="$PWD/patched" compat record -o tuesday.jsonl -- ./app/bin/app data.csv >/dev/null
cp monday.jsonl run.jsonl
