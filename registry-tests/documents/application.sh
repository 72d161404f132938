# What several pages start from. Sourced by their setup scripts; nothing here names a registry.

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
    local file
    for file in "$1"/lib64/ld-linux-*.so.* "$1"/lib/ld-linux-*.so.* "$1"/lib/*-linux-gnu/lib[cm].so.6; do
        [ -e "$file" ] || continue
        install -D "$(readlink -f "$file")" "$2/${file#"$1"/}"
    done
}

# The platform of this machine, as images name it.
platform() {
    case "$(uname -m)" in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
    esac
}

# Stores a file as a blob of an image layout, and prints its descriptor.
blob() { # LAYOUT FILE MEDIA-TYPE [FIELDS]
    local digest size
    digest="$(sha256sum <"$2" | cut -d ' ' -f 1)"
    size="$(stat -c %s "$2")"
    mkdir -p "$1/blobs/sha256"
    cp "$2" "$1/blobs/sha256/$digest"
    echo "{\"mediaType\":\"$3\",\"digest\":\"sha256:$digest\",\"size\":$size${4:+,$4}}"
}

# Makes an image of a directory, with one layer, and copies it to a reference.
make_image() { # REFERENCE DIRECTORY CONFIG, such as '"Entrypoint":["/app"]' [ARCHITECTURE]
    local layout kind=application/vnd.oci.image layer config manifest id architecture="${4:-$(platform)}"
    layout="$(mktemp -d)"
    tar -C "$2" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$layout/layer" .
    id="$(sha256sum <"$layout/layer" | cut -d ' ' -f 1)"
    gzip -n "$layout/layer"
    layer="$(blob "$layout" "$layout/layer.gz" $kind.layer.v1.tar+gzip)"
    echo "{\"os\":\"linux\",\"architecture\":\"$architecture\",\"config\":{$3}," \
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$id\"]}}" >"$layout/config"
    config="$(blob "$layout" "$layout/config" $kind.config.v1+json)"
    echo "{\"schemaVersion\":2,\"mediaType\":\"$kind.manifest.v1+json\",\"config\":$config,\"layers\":[$layer]}" \
        >"$layout/manifest"
    manifest="$(blob "$layout" "$layout/manifest" $kind.manifest.v1+json \
        "\"platform\":{\"os\":\"linux\",\"architecture\":\"$architecture\"}")"
    name_in_layout "$layout" "$manifest"
    compat -q copy "oci:$layout:image" "$1" >/dev/null
    made_image="$manifest" made_layout="$layout"
}

# Makes an index of images, each a directory with the architecture that it claims, and copies it to a reference.
make_index() { # REFERENCE CONFIG DIRECTORY ARCHITECTURE [DIRECTORY ARCHITECTURE]…
    local reference="$1" configuration="$2" layout list='' index kind=application/vnd.oci.image
    layout="$(mktemp -d)"
    shift 2
    while [ $# -gt 0 ]; do
        make_image "oci:$layout/one:image" "$1" "$configuration" "$2"
        mkdir -p "$layout/all/blobs/sha256"
        cp "$made_layout"/blobs/sha256/* "$layout/all/blobs/sha256/"
        list="$list${list:+,}$made_image"
        shift 2
    done
    echo "{\"schemaVersion\":2,\"mediaType\":\"$kind.index.v1+json\",\"manifests\":[$list]}" >"$layout/index"
    index="$(blob "$layout/all" "$layout/index" $kind.index.v1+json)"
    name_in_layout "$layout/all" "$index"
    compat -q copy "oci:$layout/all:image" "$reference" >/dev/null
}

# Names a manifest or index `image` in a layout.
name_in_layout() { # LAYOUT DESCRIPTOR
    echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
    echo "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[" \
        "${2%\}},\"annotations\":{\"org.opencontainers.image.ref.name\":\"image\"}}]}" >"$1/index.json"
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
