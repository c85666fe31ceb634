"""SR3D on SUN RGB-D, as the paper trains it, with mmdet3d's data, loops and metric.

Values equal those of `sr3d train --dataset sunrgbd`. docs/readings.md of the project explains
choices that the paper does not settle. Data are made by mmdet3d's tools/create_data.py.
"""

custom_imports = dict(imports=["sr3d.interop.mmdet3d"], allow_failed_imports=False)
default_scope = "mmdet3d"

model = dict(
    type="SR3D",
    data_preprocessor=dict(type="Det3DDataPreprocessor"),
    # Fields of sr3d.config: ModelConfig, AssignerConfig, LossConfig, InferenceConfig.
    network=dict(voxel_size=0.01),
    bbox_head=dict(
        type="SR3DHead",
        dataset="sunrgbd",
        assigner=dict(name="spota", k=6),
        loss=dict(cls="ras", tau=0.1, beta=1.0),
    ),
    test_cfg=dict(nms_pre=1000, score_thr=0.01, iou_thr=0.5, voxel_pick="random"),
)

data_root = "data/sunrgbd/"
points_alone = dict(use_camera=False, use_lidar=True)
load = dict(
    type="LoadPointsFromFile",
    coord_type="DEPTH",
    load_dim=6,
    use_dim=[0, 1, 2, 3, 4, 5],
    use_color=True,
)
sample = dict(type="PointSample", num_points=100_000)
train_pipeline = [
    load,
    dict(type="LoadAnnotations3D"),
    sample,
    dict(
        type="RandomFlip3D",
        sync_2d=False,
        flip_ratio_bev_horizontal=0.5,
        flip_ratio_bev_vertical=0.0,
    ),
    dict(
        type="GlobalRotScaleTrans",
        rot_range=[-0.5235988, 0.5235988],  # 30 degrees
        scale_ratio_range=[0.85, 1.15],
        translation_std=[0.1, 0.1, 0.1],
    ),
    dict(type="Pack3DDetInputs", keys=["points", "gt_bboxes_3d", "gt_labels_3d"]),
]
meta_keys = ["lidar_points", "box_type_3d", "box_mode_3d"]
test_pipeline = [
    load,
    sample,
    dict(type="Pack3DDetInputs", keys=["points"], meta_keys=meta_keys),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="RepeatDataset",
        times=5,
        dataset=dict(
            type="SUNRGBDDataset",
            data_root=data_root,
            ann_file="sunrgbd_infos_train.pkl",
            pipeline=train_pipeline,
            filter_empty_gt=False,
            modality=points_alone,
            default_cam_key=None,
            box_type_3d="Depth",
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="SUNRGBDDataset",
        data_root=data_root,
        ann_file="sunrgbd_infos_val.pkl",
        pipeline=test_pipeline,
        test_mode=True,
        modality=points_alone,
        default_cam_key=None,
        box_type_3d="Depth",
    ),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type="IndoorMetric"), dict(type="SR3DMetric")]
test_evaluator = val_evaluator

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=10, norm_type=2),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=300, by_epoch=False),
    dict(type="MultiStepLR", milestones=[8, 11, 12], gamma=0.1, by_epoch=True),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=13, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=True)
env_cfg = dict(dist_cfg=dict(backend="nccl"))
randomness = dict(seed=0)
