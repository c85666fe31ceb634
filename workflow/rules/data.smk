# Prepares data sets: procedural rooms, and data sets with original files.


rule prepare_synthetic:
    output:
        manifest=f"{EXPERIMENT['data'][source('synthetic')]}/manifest.json",
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
        " --workers {threads} --wait > {log:q} 2>&1"


use rule prepare_synthetic as prepare_synthetic_rotated with:
    output:
        manifest=f"{EXPERIMENT['data'][source('synthetic_rotated')]}/manifest.json",
    log:
        "<logs>/prepare/synthetic_rotated.log",
    params:
        folder=subpath(output.manifest, parent=True),
        rooms=EXPERIMENT["synthetic"],
        flavour="--rotated",


rule download_scannet:
    output:
        done=f"{EXPERIMENT['data']['scannet']}.raw.json",
    log:
        "<logs>/download/scannet.log",
    localrule: True
    conda:
        "../../envs/gpu.yaml"
    params:
        raw=raw("scannet"),
        server=server("scannet"),
    message:
        "download missing files of ScanNet (log: {log})"
    shell:
        "sr3d download scannet --out {params.raw:q} {params.server:q}"
        " --done {output.done:q} > {log:q} 2>&1"


rule download_sunrgbd:
    output:
        done=f"{EXPERIMENT['data']['sunrgbd']}.raw.json",
    log:
        "<logs>/download/sunrgbd.log",
    localrule: True
    conda:
        "../../envs/gpu.yaml"
    params:
        raw=raw("sunrgbd"),
        server=server("sunrgbd"),
    message:
        "download missing files of SUN RGB-D (log: {log})"
    shell:
        "sr3d download sunrgbd --out {params.raw:q} {params.server:q}"
        " --done {output.done:q} > {log:q} 2>&1"


# `ancient`, because a repeated download must not repeat days of training.
rule prepare_scannet:
    input:
        ancient(rules.download_scannet.output.done),
    output:
        manifest=f"{EXPERIMENT['data']['scannet']}/manifest.json",
    log:
        "<logs>/prepare/scannet.log",
    conda:
        "../../envs/gpu.yaml"
    threads: 4
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("scannet"),
    message:
        "prepare ScanNet from its original scans"
    shell:
        "sr3d prepare scannet --raw {params.raw:q} --out {params.folder:q}"
        " --workers {threads} --wait > {log:q} 2>&1"


rule prepare_sunrgbd:
    input:
        ancient(rules.download_sunrgbd.output.done),
    output:
        manifest=f"{EXPERIMENT['data']['sunrgbd']}/manifest.json",
    log:
        "<logs>/prepare/sunrgbd.log",
    conda:
        "../../envs/gpu.yaml"
    threads: 4
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("sunrgbd"),
        labels="v2",
    message:
        "prepare SUN RGB-D from its original files, boxes {params.labels}"
    shell:
        "sr3d prepare sunrgbd --raw {params.raw:q} --out {params.folder:q}"
        " --labels {params.labels} --workers {threads} --wait > {log:q} 2>&1"


use rule prepare_sunrgbd as prepare_sunrgbd_v1 with:
    output:
        manifest=f"{EXPERIMENT['data']['sunrgbd_v1']}/manifest.json",
    log:
        "<logs>/prepare/sunrgbd_v1.log",
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("sunrgbd"),
        labels="v1",


rule prepare_s3dis:
    output:
        manifest=f"{EXPERIMENT['data']['s3dis']}/manifest.json",
    log:
        "<logs>/prepare/s3dis.log",
    conda:
        "../../envs/gpu.yaml"
    threads: 2
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("s3dis"),
    message:
        "prepare S3DIS from its original rooms"
    shell:
        "sr3d prepare s3dis --raw {params.raw:q} --out {params.folder:q}"
        " --workers {threads} --wait > {log:q} 2>&1"


# New scans and corrected labels need `--forcerun prepare_own`, because every change of the prepared
# data repeats all training runs.
rule prepare_own:
    output:
        manifest=f"{EXPERIMENT['data']['own']}/manifest.json",
    log:
        "<logs>/prepare/own.log",
    conda:
        "../../envs/gpu.yaml"
    threads: 2
    params:
        folder=subpath(output.manifest, parent=True),
        raw=raw("own"),
        told=EXPERIMENT.get("prepare_own", []),
    message:
        "prepare your own scans"
    shell:
        "sr3d prepare folder --raw {params.raw:q} --out {params.folder:q}"
        " --workers {threads} --wait {params.told:q} > {log:q} 2>&1"


rule prepare_real:
    output:
        manifest=f"{EXPERIMENT['data']['real']}/manifest.json",
    log:
        "<logs>/prepare/real.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        folder=subpath(output.manifest, parent=True),
        raw=real_scans,
        scans=EXPERIMENT.get("scans", []),
        clouds=EXPERIMENT.get("clouds", []),
    message:
        "prepare a real scan, and append the clouds that mmdet3d prepared"
    shell:
        "(sr3d prepare scannet --raw {params.raw:q} --meta {params.raw:q}/meta"
        " --out {params.folder:q} --wait --scenes {params.scans:q}"
        " && sr3d prepare mmdet3d --root {params.raw:q}"
        " --out {params.folder:q} --append --wait --scenes {params.clouds:q}"
        ") > {log:q} 2>&1"


rule prepare_real_sunrgbd:
    output:
        manifest=f"{EXPERIMENT['data']['real_sunrgbd']}/manifest.json",
    log:
        "<logs>/prepare/real_sunrgbd.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        folder=subpath(output.manifest, parent=True),
        raw=real_scans,
        infos=real_infos,
        scans=EXPERIMENT.get("scans", []),
        clouds=EXPERIMENT.get("clouds", []),
    message:
        "prepare real frames, and append the clouds that mmdet3d prepared"
    shell:
        "(sr3d prepare sunrgbd --raw {params.raw:q} --out {params.folder:q} --wait --scenes {params.scans:q}"
        " && sr3d prepare mmdet3d --root {params.raw:q} --dataset sunrgbd {params.infos:q}"
        " --out {params.folder:q} --append --wait --scenes {params.clouds:q}"
        ") > {log:q} 2>&1"
