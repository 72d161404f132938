# What several pages start from. Sourced by their setup scripts; nothing here names a registry.
. "$DOCUMENTS/image.sh"

# Compiles the application `app` into a directory: a program, a library that it bundles, and a plugin that it loads
# at run time. It needs GLIBC_2.34 of its host, on every machine that compiles it.
make_app() { # DIRECTORY
    local directory="$1" source
    source="$(mktemp -d)"
    mkdir -p "$directory/bin" "$directory/lib"
    cat >"$source/table.c" <<'END'
#include <stdio.h>
int table_rows(const char *path) {
    FILE *file = fopen(path, "r");
    int rows = 0, byte;
    if (!file) return -1;
    while ((byte = getc(file)) != EOF) rows += byte == '\n';
    fclose(file);
    return rows;
}
END
    cat >"$source/csv.c" <<'END'
const char *plugin_name(void) { return "csv"; }
END
    cat >"$source/app.c" <<'END'
#include <dlfcn.h>
#include <stdio.h>
int table_rows(const char *path);
int main(int count, char **arguments) {
    const char *(*name)(void);
    void *plugin = dlopen("csv.so", RTLD_NOW);
    if (!plugin || count < 2) return 1;
    *(void **)&name = dlsym(plugin, "plugin_name");
    printf("%s: %d rows\n", name(), table_rows(arguments[1]));
    return 0;
}
END
    gcc -shared -fPIC -Wl,-soname,libtable.so.1 "$source/table.c" -o "$directory/lib/libtable.so.1"
    gcc -shared -fPIC "$source/csv.c" -o "$directory/lib/csv.so"
    # shellcheck disable=SC2016 # the loader expands $ORIGIN
    gcc -Wl,--enable-new-dtags,-rpath,'$ORIGIN/../lib' "$source/app.c" "$directory/lib/libtable.so.1" \
        -o "$directory/bin/app"
    rm -r "$source"
}

# Copies the loader and the C library of a root into a directory that becomes an image.
copy_libc() { # ROOT DIRECTORY
    local file source
    for file in "$1"/lib64/ld-linux-*.so.* "$1"/lib/ld-linux-*.so.* "$1"/lib/*-linux-gnu/lib[cm].so.6; do
        source="$(readlink "$file" || true)"
        # An absolute link starts at the root.
        case "$source" in
            /*) source="$1$source" ;;
            *) source="$file" ;;
        esac
        [ -e "$source" ] || continue
        install -D "$(readlink -f "$source")" "$2/${file#"$1"/}"
    done
}

# Makes an image of a directory and copies it to a reference.
push_image() { # REFERENCE DIRECTORY CONFIG
    local layout
    layout="$(mktemp -d)"
    make_image "$layout" image "$2" "$3"
    compat -q copy "oci:$layout:image" "$1" >/dev/null
    rm -r "$layout"
}

# Makes an image of the directory `app` and the C library of a root, and copies it to each reference.
push_app() { # ROOT REFERENCE...
    local image reference
    image="$(mktemp -d)"
    cp -r app "$image/app"
    copy_libc "$1" "$image"
    shift
    for reference in "$@"; do push_image "$reference" "$image" '{"Entrypoint":["/app/bin/app"]}'; done
    rm -r "$image"
}

# Makes an index of one image for each of two platforms, of which only the first has its programs, and copies it to
# a reference.
push_index() { # REFERENCE DIRECTORY CONFIG
    local layout image oci=application/vnd.oci.image
    layout="$(mktemp -d)"
    make_image "$layout" image "$2" "$3"
    image="$(grep -o '{"mediaType":[^,]*,"digest":[^,]*,"size":[0-9]*' "$layout/index.json")"
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s,"platform":%s},%s,"platform":%s}]}' \
        $oci.index.v1+json "$image" '{"os":"linux","architecture":"amd64"}' \
        "$image" '{"os":"linux","architecture":"arm64"}' >"$layout/index"
    image="$(put_blob "$layout" $oci.index.v1+json <"$layout/index")"
    printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"org.opencontainers.image.ref.name":"index"}}]}' \
        "$image" >"$layout/index.json"
    compat -q copy "oci:$layout:index" "$1" >/dev/null
    rm -r "$layout"
}

# Compiles `simulate`, a program that needs Slingshot's libcxi.so.1 of its host, into a directory that becomes an image.
make_simulate() { # DIRECTORY
    local source
    source="$(mktemp -d)"
    mkdir -p "$1/bin"
    echo 'int cxil_open_device(void) { return 0; }' >"$source/cxi.c"
    echo 'int cxil_open_device(void); int main(void) { return cxil_open_device(); }' >"$source/simulate.c"
    gcc -shared -fPIC -Wl,-soname,libcxi.so.1 "$source/cxi.c" -o "$source/libcxi.so.1"
    gcc "$source/simulate.c" "$source/libcxi.so.1" -o "$1/bin/simulate"
    rm -r "$source"
}
