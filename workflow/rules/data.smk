# Original files, or nothing at all, into the prepared format.


rule prepare_synthetic:
    output:
        manifest=f"{EXPERIMENT['data']['synthetic']}/manifest.json",
    log:
        "<logs>/prepare/synthetic.log",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    params:
        folder=subpath(output.manifest, parent=True),
        rooms=EXPERIMENT["synthetic"],
        flavour="",
    message:
        "prepare procedural rooms"
    shell:
        "sr3d prepare synthetic --out {params.folder:q} {params.flavour}"
        " --train {params.rooms[train]} --val {params.rooms[val]}"
        " --points {params.rooms[points]} --seed {params.rooms[seed]}"
        " --workers {threads} > {log:q} 2>&1"


use rule prepare_synthetic as prepare_synthetic_rotated with:
    output:
        manifest=f"{EXPERIMENT['data']['synthetic_rotated']}/manifest.json",
    log:
        "<logs>/prepare/synthetic_rotated.log",
    params:
        folder=subpath(output.manifest, parent=True),
        rooms=EXPERIMENT["synthetic"],
        flavour="--rotated",


rule prepare_scannet:
    output:
        manifest=f"{EXPERIMENT['data']['scannet']}/manifest.json",
    log:
        "<logs>/prepare/scannet.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("scannet"),
    message:
        "prepare ScanNet from its original scans"
    shell:
        "sr3d prepare scannet --raw {params.raw:q} --out {params.folder:q} > {log:q} 2>&1"


rule prepare_sunrgbd:
    output:
        manifest=f"{EXPERIMENT['data']['sunrgbd']}/manifest.json",
    log:
        "<logs>/prepare/sunrgbd.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("sunrgbd"),
    message:
        "prepare SUN RGB-D from its original files (`sr3d prepare sunrgbd` follows in a later version)"
    shell:
        "sr3d prepare sunrgbd --raw {params.raw:q} --out {params.folder:q} > {log:q} 2>&1"


rule prepare_real:
    output:
        manifest=f"{EXPERIMENT['data']['real']}/manifest.json",
    log:
        "<logs>/prepare/real.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("real"),
        scans=EXPERIMENT.get("scans", []),
        clouds=EXPERIMENT.get("clouds", []),
    message:
        "prepare a real scan, and append the clouds that mmdet3d prepared"
    shell:
        "(sr3d prepare scannet --raw {params.raw:q} --meta {params.raw:q}/meta"
        " --out {params.folder:q} --scenes {params.scans:q}"
        " && sr3d prepare mmdet3d --root {params.raw:q}"
        " --out {params.folder:q} --append --scenes {params.clouds:q}"
        ") > {log:q} 2>&1"
