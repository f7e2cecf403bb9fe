"""PySlowFast's configuration keys that are not keys here, each with the reason why.

A key that decides what is computed passes only with the value that says what is so here anyway;
with any other it is refused by name. A key that decides nothing passes with any value. Together
with the keys of :mod:`mutualvideo.config.defaults` these are all of PySlowFast's: whatever is in
neither list is a typing mistake.
"""

# Keys that decide nothing: the reason, and the keys.
_FREE = [
    (
        "torchrun and the visible devices decide what runs where",
        "NUM_GPUS NUM_SHARDS SHARD_ID DIST_BACKEND",
    ),
    (
        "every sub-network is calibrated, see TABLE.CALIBRATION_BATCHES",
        "BN.USE_PRECISE_STATS BN.NUM_BATCHES_PRECISE",
    ),
    ("what it makes RGB of is RGB here", "DATA.REVERSE_INPUT_CHANNEL"),
    ("decides about memory alone", "RESNET.INPLACE_RELU"),
    (
        "formats of weights are recognised from the file, and inflated weights are named",
        "TRAIN.CHECKPOINT_TYPE TRAIN.CHECKPOINT_INFLATE TEST.CHECKPOINT_TYPE",
    ),
    (
        "epochs are counted from 0 for whatever TRAIN.CHECKPOINT_FILE_PATH names",
        "TRAIN.CHECKPOINT_EPOCH_RESET",
    ),
    (
        "steps whose loss is not finite are skipped and counted, see TRAIN.MAX_SKIPPED_STEPS",
        "TRAIN.KILL_LOSS_EXPLOSION_FACTOR",
    ),
    ("networks know how many pathways they have", "MODEL.SINGLE_PATHWAY_ARCH"),
    ("networks know how many pathways they have", "MODEL.MULTI_PATHWAY_ARCH"),
    ("nothing reads it there either", "SOLVER.STEP_SIZE SOLVER.WARMUP_FACTOR"),
    (
        "videos are decoded straight to the size that is wanted, by DATA_LOADER.NUM_WORKERS",
        "DATA.DECODING_SHORT_SIZE DATA_LOADER.ENABLE_MULTI_THREAD_DECODE PREFETCH.NUM_LOADERS",
    ),
    ("tells about the run, and what is told here is docs/training.md's", "LOG_MODEL_INFO"),
    ("results are in results.json", "TEST.SAVE_RESULTS_PATH"),
    (
        "TensorBoard's files are always written, see docs/training.md",
        """TENSORBOARD.ENABLE TENSORBOARD.PREDICTIONS_PATH TENSORBOARD.LOG_DIR
        TENSORBOARD.CLASS_NAMES_PATH TENSORBOARD.CATEGORIES_PATH
        TENSORBOARD.CONFUSION_MATRIX.ENABLE TENSORBOARD.CONFUSION_MATRIX.FIGSIZE
        TENSORBOARD.CONFUSION_MATRIX.SUBSET_PATH TENSORBOARD.HISTOGRAM.ENABLE
        TENSORBOARD.HISTOGRAM.SUBSET_PATH TENSORBOARD.HISTOGRAM.TOPK TENSORBOARD.HISTOGRAM.FIGSIZE
        TENSORBOARD.MODEL_VIS.ENABLE TENSORBOARD.MODEL_VIS.MODEL_WEIGHTS
        TENSORBOARD.MODEL_VIS.ACTIVATIONS TENSORBOARD.MODEL_VIS.INPUT_VIDEO
        TENSORBOARD.MODEL_VIS.LAYER_LIST TENSORBOARD.MODEL_VIS.TOPK_PREDS
        TENSORBOARD.MODEL_VIS.COLORMAP TENSORBOARD.MODEL_VIS.GRAD_CAM.ENABLE
        TENSORBOARD.MODEL_VIS.GRAD_CAM.LAYER_LIST TENSORBOARD.MODEL_VIS.GRAD_CAM.USE_TRUE_LABEL
        TENSORBOARD.MODEL_VIS.GRAD_CAM.COLORMAP TENSORBOARD.WRONG_PRED_VIS.ENABLE
        TENSORBOARD.WRONG_PRED_VIS.TAG TENSORBOARD.WRONG_PRED_VIS.SUBSET_PATH""",
    ),
    (
        "of its benchmark of loading; see `mutualvideo benchmark`",
        "BENCHMARK.NUM_EPOCHS BENCHMARK.LOG_PERIOD BENCHMARK.SHUFFLE",
    ),
    (
        "of its demo, which DEMO.ENABLE starts; see `mutualvideo demo`",
        """DEMO.LABEL_FILE_PATH DEMO.WEBCAM DEMO.INPUT_VIDEO DEMO.DISPLAY_WIDTH DEMO.DISPLAY_HEIGHT
        DEMO.DETECTRON2_CFG DEMO.DETECTRON2_WEIGHTS DEMO.DETECTRON2_THRESH DEMO.BUFFER_SIZE
        DEMO.OUTPUT_FILE DEMO.OUTPUT_FPS DEMO.INPUT_FORMAT DEMO.CLIP_VIS_SIZE
        DEMO.NUM_VIS_INSTANCES DEMO.PREDS_BOXES DEMO.THREAD_ENABLE DEMO.NUM_CLIPS_SKIP
        DEMO.GT_BOXES DEMO.STARTING_SECOND DEMO.FPS DEMO.VIS_MODE DEMO.COMMON_CLASS_THRES
        DEMO.UNCOMMON_CLASS_THRES DEMO.COMMON_CLASS_NAMES DEMO.SLOWMO""",
    ),
    (
        "of detection, which DETECTION.ENABLE starts",
        """DETECTION.ALIGNED DETECTION.SPATIAL_SCALE_FACTOR DETECTION.ROI_XFORM_RESOLUTION
        AVA.FRAME_DIR AVA.FRAME_LIST_DIR AVA.ANNOTATION_DIR AVA.TRAIN_LISTS AVA.TEST_LISTS
        AVA.TRAIN_GT_BOX_LISTS AVA.TRAIN_PREDICT_BOX_LISTS AVA.TEST_PREDICT_BOX_LISTS
        AVA.DETECTION_SCORE_THRESH AVA.BGR AVA.TRAIN_USE_COLOR_AUGMENTATION
        AVA.TRAIN_PCA_JITTER_ONLY AVA.TEST_FORCE_FLIP AVA.FULL_TEST_ON_VAL AVA.LABEL_MAP_FILE
        AVA.EXCLUSION_FILE AVA.GROUNDTRUTH_FILE AVA.IMG_PROC_BACKEND""",
    ),
    (
        "of transformers, which MODEL.MODEL_NAME asks for",
        """MVIT.MODE MVIT.POOL_FIRST MVIT.CLS_EMBED_ON MVIT.PATCH_KERNEL MVIT.PATCH_STRIDE
        MVIT.PATCH_PADDING MVIT.PATCH_2D MVIT.EMBED_DIM MVIT.NUM_HEADS MVIT.MLP_RATIO MVIT.QKV_BIAS
        MVIT.DROPPATH_RATE MVIT.LAYER_SCALE_INIT_VALUE MVIT.DEPTH MVIT.NORM MVIT.DIM_MUL
        MVIT.HEAD_MUL MVIT.POOL_KV_STRIDE MVIT.POOL_KV_STRIDE_ADAPTIVE MVIT.POOL_Q_STRIDE
        MVIT.POOL_KVQ_KERNEL MVIT.ZERO_DECAY_POS_CLS MVIT.NORM_STEM MVIT.SEP_POS_EMBED
        MVIT.DROPOUT_RATE MVIT.USE_ABS_POS MVIT.REL_POS_SPATIAL MVIT.REL_POS_TEMPORAL
        MVIT.REL_POS_ZERO_INIT MVIT.RESIDUAL_POOLING MVIT.DIM_MUL_IN_ATT MVIT.SEPARATE_QKV
        MVIT.HEAD_INIT_SCALE MVIT.USE_MEAN_POOLING MVIT.USE_FIXED_SINCOS_POS MVIT.REV.ENABLE
        MVIT.REV.RESPATH_FUSE MVIT.REV.BUFFER_LAYERS MVIT.REV.RES_PATH MVIT.REV.PRE_Q_FUSION""",
    ),
    (
        "of masked pretraining, which MASK.ENABLE and AUG.GEN_MASK_LOADER start",
        """MASK.MAE_ON MASK.MAE_RND_MASK MASK.PER_FRAME_MASKING MASK.TIME_STRIDE_LOSS
        MASK.NORM_PRED_PIXEL MASK.SCALE_INIT_BY_DEPTH MASK.DECODER_EMBED_DIM
        MASK.DECODER_SEP_POS_EMBED MASK.DEC_KV_KERNEL MASK.DEC_KV_STRIDE MASK.PRETRAIN_DEPTH
        MASK.HEAD_TYPE MASK.DECODER_DEPTH MASK.PRED_HOG AUG.MASK_TUBE AUG.MASK_FRAMES
        AUG.MASK_WINDOW_SIZE AUG.MASK_RATIO AUG.MAX_MASK_PATCHES_PER_BLOCK""",
    ),
    (
        "of self-supervised training, which TASK and MODEL.MODEL_NAME ask for",
        """CONTRASTIVE.T CONTRASTIVE.DIM CONTRASTIVE.LENGTH CONTRASTIVE.QUEUE_LEN
        CONTRASTIVE.MOMENTUM CONTRASTIVE.MOMENTUM_ANNEALING CONTRASTIVE.TYPE
        CONTRASTIVE.INTERP_MEMORY CONTRASTIVE.MEM_TYPE CONTRASTIVE.NUM_CLASSES_DOWNSTREAM
        CONTRASTIVE.NUM_MLP_LAYERS CONTRASTIVE.MLP_DIM CONTRASTIVE.BN_MLP CONTRASTIVE.BN_SYNC_MLP
        CONTRASTIVE.LOCAL_SHUFFLE_BN CONTRASTIVE.MOCO_MULTI_VIEW_QUEUE CONTRASTIVE.DELTA_CLIPS_MIN
        CONTRASTIVE.DELTA_CLIPS_MAX CONTRASTIVE.PREDICTOR_DEPTHS CONTRASTIVE.SEQUENTIAL
        CONTRASTIVE.SIMCLR_DIST_ON CONTRASTIVE.SWAV_QEUE_LEN CONTRASTIVE.KNN_ON""",
    ),
    (
        "of colours for self-supervised training, which DATA.SSL_COLOR_JITTER starts",
        """DATA.SSL_COLOR_BRI_CON_SAT DATA.SSL_COLOR_HUE DATA.SSL_MOCOV2_AUG
        DATA.SSL_BLUR_SIGMA_MIN DATA.SSL_BLUR_SIGMA_MAX""",
    ),
    (
        "of the multigrid schedule, which works them out there too, whatever they are",
        """MULTIGRID.LONG_CYCLE_SAMPLING_RATE MULTIGRID.DEFAULT_B MULTIGRID.DEFAULT_T
        MULTIGRID.DEFAULT_S""",
    ),
]
FREE = {key: reason for reason, keys in _FREE for key in keys.split()}

# Keys that pass with these values alone, the most telling first, and why they do with no other.
_ONES = ([[1]] * 4, [[1, 1]] * 4)
ONLY = {
    "TASK": (("",), "self-supervised training and its evaluation are not offered"),
    "MASK.ENABLE": ((False,), "masked pretraining is not offered"),
    "AUG.GEN_MASK_LOADER": ((False,), "masked pretraining is not offered"),
    "VIS_MASK.ENABLE": ((False,), "masked pretraining is not offered"),
    "DETECTION.ENABLE": ((False,), "detection is not offered: labels are of whole videos"),
    "DEMO.ENABLE": ((False,), "training has no demo; `mutualvideo demo` is one"),
    "MODEL.HEAD_ACT": (("softmax",), "classes exclude one another, another head is not offered"),
    "RESNET.NUM_GROUPS": ((1,), "grouped convolutions (ResNeXt) are not offered"),
    "RESNET.WIDTH_PER_GROUP": ((64,), "stages begin with 64 channels, others are not offered"),
    "RESNET.STRIDE_1X1": ((False,), "strides lie in the 3x3 convolutions, not in the 1x1 ones"),
    "RESNET.SPATIAL_STRIDES": (
        ([[1], [2], [2], [2]], [[1, 1], [2, 2], [2, 2], [2, 2]]),
        "stages have strides of 1, 2, 2 and 2, others are not offered",
    ),
    "RESNET.SPATIAL_DILATIONS": (_ONES, "dilated convolutions are not offered"),
    "RESNET.ZERO_INIT_FINAL_CONV": (
        (False,),
        "convolutions start at random, zeros are not offered",
    ),
    "X3D.SCALE_RES2": ((False,), "the first stage of X3D has the stem's channels"),
    "X3D.BN_LIN5": ((False,), "X3D has no BatchNorm after its last linear layer"),
    "X3D.CHANNELWISE_3x3x3": ((True,), "X3D's 3x3x3 convolutions are depthwise"),
    "NONLOCAL.GROUP": (_ONES, "non-local blocks look at all frames, groups are not offered"),
    "MODEL.DROPCONNECT_RATE": ((0,), "dropping whole blocks is not offered"),
    "MODEL.FC_INIT_STD": ((0.01,), "classifiers start with a deviation of 0.01"),
    "MODEL.DETACH_FINAL_FC": ((False,), "training the classifier alone is not offered"),
    "MODEL.FROZEN_BN": ((False,), "BatchNorm is always trained"),
    "MODEL.FP16_ALLREDUCE": ((False,), "gradients are summed in their own precision"),
    "BN.NUM_SPLITS": ((1,), "statistics of parts of a process's batch are not offered"),
    "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN": (
        ((), [], "()"),
        "names of weights are not edited; known formats are recognised",
    ),
    "TRAIN.CHECKPOINT_IN_INIT": (
        (False,),
        "loading weights while the network is made is not offered",
    ),
    "TEST.NUM_TEMPORAL_CLIPS": (([],), "one number of views is tested: TEST.NUM_ENSEMBLE_VIEWS"),
    "DATA.INPUT_CHANNEL_NUM": (([3], [3, 3]), "clips have three channels, others are not offered"),
    "DATA.TRAIN_CROP_NUM_TEMPORAL": ((1,), "several clips of a video in a step are not offered"),
    "DATA.TRAIN_CROP_NUM_SPATIAL": ((1,), "several crops of a clip in a step are not offered"),
    "DATA.TRAIN_JITTER_MOTION_SHIFT": ((False,), "a crop that moves with time is not offered"),
    "DATA.TRAIN_JITTER_FPS": ((0,), "a random frame rate is not offered"),
    "DATA.USE_OFFSET_SAMPLING": ((False,), "its other places of clips are not offered"),
    "DATA.COLOR_RND_GRAYSCALE": ((0,), "turning clips grey at random is not offered"),
    "DATA.TIME_DIFF_PROB": ((0,), "differences of frames are not offered"),
    "DATA.SSL_COLOR_JITTER": ((False,), "colours for self-supervised training are not offered"),
    "DATA.TRAIN_PCA_EIGVAL": (([0.225, 0.224, 0.229],), "lighting noise (PCA) is not offered"),
    "DATA.TRAIN_PCA_EIGVEC": (
        (
            [
                [-0.5675, 0.7192, 0.4009],
                [-0.5808, -0.0045, -0.8140],
                [-0.5836, -0.6948, 0.4203],
            ],
        ),
        "lighting noise (PCA) is not offered",
    ),
    "DATA.LOADER_CHUNK_SIZE": ((0,), "lists are read whole"),
    "DATA.LOADER_CHUNK_OVERALL_SIZE": ((0,), "lists are read whole"),
    "DATA.SKIP_ROWS": ((0,), "lists are read whole"),
    "DATA.PATH_TO_PRELOAD_IMDB": (("",), "folders of pictures are read as they are"),
    "DATA.IN22K_TRAINVAL": ((False,), "ImageNet-22K with its own validation set is not offered"),
    "DATA.IN22k_VAL_IN1K": (("",), "ImageNet-22K with its own validation set is not offered"),
    "DATA.DUMMY_LOAD": ((False,), "loading one sample again and again is not offered"),
    "AUG.NUM_SAMPLE": ((1,), "several samples of a video in a step are not offered"),
    "AUG.RE_COUNT": ((1,), "one box is erased, several are not offered"),
    "AUG.RE_SPLIT": ((False,), "erasing in a part of the batch alone is not offered"),
    "SOLVER.CLIP_GRAD_VAL": ((0,), "gradients are clipped by their norm, not by value"),
    "SOLVER.LARS_ON": ((False,), "LARS is not offered"),
    "SOLVER.LAYER_DECAY": ((1,), "rates that fall from layer to layer are not offered"),
}

# MODEL.HEAD_ACT beside DATA.MULTI_LABEL True.
HEAD_OF_SEVERAL = (("sigmoid",), "with several labels a video scores are of a sigmoid")

# Values of keys of our own that PySlowFast has and that are not offered.
_TRANSFORMER = "transformers are not offered; networks are convolutional"
_SELF_SUPERVISED = "self-supervised training is not offered"
REFUSED = {
    "MODEL.MODEL_NAME": {
        "ContrastiveModel": _SELF_SUPERVISED,
        "MaskMViT": "masked pretraining of transformers is not offered",
        "MViT": _TRANSFORMER,
        "PTVMViT": _TRANSFORMER,
        "RevMViT": _TRANSFORMER,
        "PTVCSN": "channel-separated networks (CSN) are not offered",
        "PTVR2plus1D": "R(2+1)D is not offered",
        "ResNet_nopool": (
            "PySlowFast has no such network any more; C2D without pooling is "
            "MODEL.MODEL_NAME ResNet with MODEL.ARCH slow_c2d"
        ),
    },
    "MODEL.ARCH": {
        "mvit": _TRANSFORMER,
        "csn": "channel-separated networks (CSN) are not offered",
        "r2plus1d": "R(2+1)D is not offered",
    },
    "MODEL.LOSS_FUNC": {
        "mse": "losses other than cross-entropy are not offered",
        "multi_mse": "masked pretraining is not offered",
        "contrastive_loss": _SELF_SUPERVISED,
    },
    "TRAIN.DATASET": {"ava": "detection is not offered: labels are of whole videos"},
    "TEST.DATASET": {"ava": "detection is not offered: labels are of whole videos"},
    "SOLVER.OPTIMIZING_METHOD": {"mt_adamw": "it is called adamw"},
}
# Most telling first.
ORDER = [
    *("TASK", "MASK.ENABLE", "DETECTION.ENABLE", "MODEL.MODEL_NAME", "MODEL.ARCH"),
    *("TRAIN.DATASET", "TEST.DATASET", "MODEL.LOSS_FUNC"),
]

_DATA_SETS = {
    "ptvkinetics": "kinetics",
    "ptvcharades": "charades",
    "ptvssv2": "ssv2",
    "imagenet": "imagefolder",
}
# Values that have another name here.
RENAMED_VALUES = {
    "MODEL.MODEL_NAME": {"PTVX3D": "X3D", "PTVSlowFast": "SlowFast", "PTVResNet": "ResNet"},
    "TRAIN.DATASET": _DATA_SETS,
    "TEST.DATASET": _DATA_SETS,
    # The same on targets that are not smooth, and MIXUP decides about those.
    "MODEL.LOSS_FUNC": {"soft_cross_entropy": "cross_entropy"},
    # torchvision has removed its decoder, and the frames are PyAV's.
    "DATA.DECODING_BACKEND": {"torchvision": "pyav"},
    # It is BN.NUM_SPLITS that would make a difference.
    "BN.NORM_TYPE": {"sub_batchnorm": "batchnorm"},
    "AUG.COLOR_JITTER": {None: 0.0, "None": 0.0},
    "SOLVER.CLIP_GRAD_L2NORM": {None: 0.0, "None": 0.0},
}
# Keys that have another name here.
RENAMED = {"DATA.IN_VAL_CROP_RATIO": "DATA.TEST_CROP_SHARE"}

# What a file of PySlowFast's that does not name a key means by that, where it is not the default
# here: of keys that decide about networks and clips.
ABSENT = {
    "DATA.NUM_FRAMES": 8,
    "DATA.SAMPLING_RATE": 8,
    "DATA.TEST_CROP_SIZE": 256,
    "X3D.BOTTLENECK_FACTOR": 1.0,
}
