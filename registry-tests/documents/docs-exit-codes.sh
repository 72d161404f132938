# needs: registry roots cc fuse
# An application, an image with an artifact, and an image without one.
. "$DOCUMENTS/application.sh"
make_app app
push_app /srv/bookworm ghcr.io/org/app:1.0 ghcr.io/org/other:1.0
compat -q attach --generate ghcr.io/org/app:1.0 >/dev/null
printf 'a,b\n1,2\n3,4\n' >data.csv
cat >start <<'END'
#!/bin/sh
compat check ghcr.io/org/app:1.0
case $? in
  0) ;;
  1) echo "does not run on this node" >&2; exit 1 ;;
  *) echo "no verdict, starting anyway" >&2 ;;
esac
exec ./app/bin/app "$@"
END
chmod +x start
