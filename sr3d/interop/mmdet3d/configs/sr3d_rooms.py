"""A thin SR3D on procedural rooms, to try on two cores. A template for own data.

    sr3d prepare synthetic --out data/rooms
    sr3d export mmdet3d --data data/rooms --out data/rooms_mmdet3d

For own data, use `sr3d prepare folder` and the same export. The head then needs `dataset="own"` and
`own=dict(classes=[...], levels=[...], rotated=...)`.
"""

_base_ = "sr3d_scannet.py"

# The values of `sr3d train --dataset synthetic`.
model = dict(
    network=dict(
        voxel_size=0.08,
        stem_channels=16,
        stem_stride=1,
        stem_pool=False,
        planes=[16, 24, 48, 64],
        blocks=[1, 1, 1, 1],
        neck_channels=24,
    ),
    bbox_head=dict(dataset="synthetic"),
    test_cfg=dict(nms_pre=300),
)

# Aligned already. Colours are exported from 0 to 1 (ScanNet's and S3DIS's from 0 to 255).
data_root = "data/rooms_mmdet3d/"
load = dict(
    type="LoadPointsFromFile",
    coord_type="DEPTH",
    load_dim=6,
    use_dim=[0, 1, 2, 3, 4, 5],
    use_color=True,
)
train_pipeline = [
    load,
    dict(type="LoadAnnotations3D"),
    dict(type="PointSample", num_points=0.5),
    dict(
        type="RandomFlip3D",
        sync_2d=False,
        flip_ratio_bev_horizontal=0.5,
        flip_ratio_bev_vertical=0.5,
    ),
    dict(
        type="GlobalRotScaleTrans",
        rot_range=[-0.0872665, 0.0872665],
        scale_ratio_range=[0.9, 1.1],
        translation_std=[0.1, 0.1, 0.1],
    ),
    dict(type="Pack3DDetInputs", keys=["points", "gt_bboxes_3d", "gt_labels_3d"]),
]
meta_keys = ["lidar_points", "box_type_3d", "box_mode_3d"]
test_pipeline = [
    load,
    dict(type="PointSample", num_points=15_000),
    dict(type="Pack3DDetInputs", keys=["points"], meta_keys=meta_keys),
]
train_dataloader = dict(
    _delete_=True,
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="SR3DDataset",
        data_root=data_root,
        ann_file="synthetic_infos_train.pkl",
        pipeline=train_pipeline,
        filter_empty_gt=False,
    ),
)
val_dataloader = dict(
    _delete_=True,
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="SR3DDataset",
        data_root=data_root,
        ann_file="synthetic_infos_val.pkl",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.0025, begin=0, end=20, by_epoch=False),
    dict(type="MultiStepLR", milestones=[4], gamma=0.1, by_epoch=True),
]
train_cfg = dict(max_epochs=5, val_interval=5)
default_hooks = dict(logger=dict(interval=20))
