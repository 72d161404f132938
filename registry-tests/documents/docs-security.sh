# needs: fuse setpriv gcc
# A program for docs/security.md.
echo 'int main(void) { return 0; }' >app.c
gcc -o app app.c
