# make_image LAYOUT TAG DIRECTORY CONFIG: writes an image of one layer, the contents of DIRECTORY, to the OCI image
# layout LAYOUT. CONFIG is the JSON object `config` of the image's configuration. Setups source this file.

# Stores standard input as a blob of the layout $1 and prints its descriptor, with the media type $2.
put_blob() {
    local file digest
    file=$(mktemp "$1/blob.XXXXXX")
    cat >"$file"
    digest=$(sha256sum "$file" | cut -d' ' -f1)
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%s' "$2" "$digest" "$(stat -c %s "$file")"
    mv "$file" "$1/blobs/sha256/$digest"
}

make_image() {
    local oci=application/vnd.oci.image layer config manifest
    mkdir -p "$1/blobs/sha256"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
    layer=$(tar -C "$3" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - . |
        put_blob "$1" $oci.layer.v1.tar)
    config=$(printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["%s"]}}' \
        "$4" "$(grep -o 'sha256:[0-9a-f]*' <<<"$layer")" | put_blob "$1" $oci.config.v1+json)
    manifest=$(printf '{"schemaVersion":2,"mediaType":"%s","config":%s},"layers":[%s}]}' \
        $oci.manifest.v1+json "$config" "$layer" | put_blob "$1" $oci.manifest.v1+json)
    printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
        "$manifest" "$2" >"$1/index.json"
}
