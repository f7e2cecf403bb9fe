"""Every configuration key, its default and its meaning.

Keys that PySlowFast has keep PySlowFast's name and meaning, so its users can type what
they are used to. Sections of our own: ``MUTUAL`` (training) and ``TABLE`` (evaluation of
the grid of sub-networks).
"""

from fvcore.common.config import CfgNode

from mutualvideo.errors import InputError

_C = CfgNode()

# Python files (a path that ends in .py) and modules that add networks, data sets or backends; they
# are imported before anything else. A file's path is relative to the YAML file that names it. See
# docs/extending.md.
_C.EXTENSIONS = []

# Where logs, checkpoints, the query table and the plots go.
_C.OUTPUT_DIR = "./output"
# Seeds initial weights, data order, augmentation and the draw of sub-networks.
_C.RNG_SEED = 0
# A log line every LOG_PERIOD steps, and one at the end of an epoch that has fewer.
_C.LOG_PERIOD = 10
# Whether PySlowFast's json_stats lines are on the screen and in stdout.log too, not in stats.jsonl
# alone.
_C.LOG_JSON_STATS = False

_C.MODEL = CfgNode()
# Name in MODEL_REGISTRY, such as X3D, ResNet (Slow, C2D, I3D), SlowFast or, of pictures,
# MobileNetV2; each file in models/ says what it has. Or a detector's, see docs/detection.md.
_C.MODEL.MODEL_NAME = "X3D"
# Follows from MODEL_NAME; of ResNet slow, c2d, i3d, slow_c2d or slow_i3d (the last two do not pool
# over time). Files of PySlowFast have it; if it is given it has to fit. Where it alone is given, it
# decides MODEL_NAME.
_C.MODEL.ARCH = ""
# 0, or in a run a configuration that does not say it: as many as the training data have. Those of
# detectors include the background.
_C.MODEL.NUM_CLASSES = 400
# Dropout before the classifier. Networks that have none want 0.
_C.MODEL.DROPOUT_RATE = 0.5
# Loss of the full network on the labels: cross_entropy, or with DATA.MULTI_LABEL bce_logit (bce
# means the same): binary cross-entropy, the mean over clips and classes.
_C.MODEL.LOSS_FUNC = "cross_entropy"
# Label smoothing of that loss, 0 to 1; of several labels a video, both answers go this far to 1/2.
_C.MODEL.LABEL_SMOOTHING = 0.0
# Weights of classes in that loss, where some are rarer: balanced (one over how many videos a class
# has, 1 on average over the videos), or a number for each, such as "1, 2.5, 1". Of several labels a
# video they are of those that it has; balanced: videos without over videos with it. Empty: 1 each.
_C.MODEL.CLASS_WEIGHTS = ""
# Activation checkpointing: training keeps of every residual block its input alone, and computes the
# rest anew for the backward pass: less memory, about a third more time.
_C.MODEL.ACT_CHECKPOINT = False

_C.X3D = CfgNode()
# Multiplies the channels of every stage.
_C.X3D.WIDTH_FACTOR = 1.0
# Multiplies the number of blocks of every stage.
_C.X3D.DEPTH_FACTOR = 1.0
# Inner channels of a block over its output channels.
_C.X3D.BOTTLENECK_FACTOR = 2.25
# Channels before the classifier.
_C.X3D.DIM_C5 = 2048
# Channels of the stem before WIDTH_FACTOR.
_C.X3D.DIM_C1 = 12

_C.RESNET = CfgNode()
# 50, 101 or 152 layers; ImageResNet also 18 or 34 (PyTorchVideo has no basic block).
_C.RESNET.DEPTH = 50
# Start the last BatchNorm of every residual branch at 0.
_C.RESNET.ZERO_INIT_FINAL_BN = False
# How many blocks of each stage have temporal kernels, one list of pathways for each stage, such as
# [[3], [4], [6], [3]]; empty: all of those that the architecture has in the stage.
_C.RESNET.NUM_BLOCK_TEMP_KERNEL = []

_C.NONLOCAL = CfgNode()
# After which residual blocks of each stage and pathway a non-local block (arXiv 1711.07971) stands,
# such as [[[]], [[1, 3]], [[1, 3, 5]], [[]]]; empty: nowhere.
_C.NONLOCAL.LOCATION = []
# dot_product or softmax.
_C.NONLOCAL.INSTANTIATION = "dot_product"
# Window over (frames, height, width) that is pooled for keys and values, of each stage and pathway;
# empty: [1, 2, 2] everywhere.
_C.NONLOCAL.POOL = []

_C.MOBILENET = CfgNode()
# Multiplies the channels of every layer, also beyond 1 (model scaling).
_C.MOBILENET.WIDTH_FACTOR = 1.0

_C.WIDERESNET = CfgNode()
# Layers: 4 and a multiple of 6.
_C.WIDERESNET.DEPTH = 28
# Multiplies the channels of the three stages.
_C.WIDERESNET.WIDEN_FACTOR = 10

_C.SLOWFAST = CfgNode()
# Frames of the Fast pathway over frames of the Slow pathway.
_C.SLOWFAST.ALPHA = 8
# Channels of the Slow pathway over channels of the Fast pathway.
_C.SLOWFAST.BETA_INV = 8
# Output over input channels of the lateral convolutions.
_C.SLOWFAST.FUSION_CONV_CHANNEL_RATIO = 2
# Temporal kernel of the lateral convolutions.
_C.SLOWFAST.FUSION_KERNEL_SZ = 5

# Detectors (docs/detection.md), which MODEL.MODEL_NAME names as it names networks.
_C.DETECTOR = CfgNode()
# Side of the smallest anchor at each level of the pyramid, in pixels; empty: torchvision's own.
# RetinaNet_R18_FPN has as many levels, 3 to 5, from stride 4 on; others have five.
_C.DETECTOR.ANCHOR_SIZES = []
# RetinaNet_R18_FPN: channels of the backbone's stem (its stages have 1, 2, 4 and 8 times as many),
# and of the pyramid and the heads, which do not follow the width.
_C.DETECTOR.STEM_CHANNELS = 64
_C.DETECTOR.PYRAMID_CHANNELS = 256
# Weight of a sub-network's distillation, beside its losses on the labels; 0: labels alone.
_C.DETECTOR.IMITATION = 1.0
# [height, width] of the picture that multiply-adds are counted for, before it is brought to a
# sub-network's size; empty: a square.
_C.DETECTOR.PICTURE = []

_C.BN = CfgNode()
# batchnorm: every process normalises by its own clips; sync_batchnorm: by those of all processes
# together, for few clips a process: two small all-reduces a layer and pass.
_C.BN.NORM_TYPE = "batchnorm"
_C.BN.EPSILON = 1e-5
# Weight of the newest batch in the full network's running statistics.
_C.BN.MOMENTUM = 0.1
# Weight decay of BatchNorm weights and biases.
_C.BN.WEIGHT_DECAY = 0.0

_C.DATA = CfgNode()
# Folder that holds train.csv, val.csv and test.csv (test.csv may be absent: val.csv is used), or
# what else the data set says.
_C.DATA.PATH_TO_DATA_DIR = ""
# Folder that relative paths in the CSV files start from; empty: PATH_TO_DATA_DIR.
_C.DATA.PATH_PREFIX = ""
# With PATH_PREFIX: paths in lists may be absolute, or lead out of it by "..". Else such a list is
# refused: a list from elsewhere must read nothing but videos. Without PATH_PREFIX they always may.
_C.DATA.ALLOW_ABSOLUTE_PATHS = False
# What stands between path and label in a CSV line.
_C.DATA.PATH_LABEL_SEPARATOR = " "
# Frames of a full clip. Networks of pictures do not read this.
_C.DATA.NUM_FRAMES = 16
# Distance between two of them, in frames at TARGET_FPS.
_C.DATA.SAMPLING_RATE = 5
# Frame rate that SAMPLING_RATE refers to: a 60 fps video is stepped through twice as fast.
_C.DATA.TARGET_FPS = 30
# Training: the short side is resized to a random value of this range, in pixels.
_C.DATA.TRAIN_JITTER_SCALES = [256, 320]
# Draw one over the short side uniformly instead, which favours small ones.
_C.DATA.INV_UNIFORM_SAMPLE = False
# Training: then a random square of this many pixels. Detectors see whole pictures: of the full
# network this is their shorter side, of SSDLite both.
_C.DATA.TRAIN_CROP_SIZE = 224
# Training: first the picture is reflected at its edges by this many pixels (CIFAR: 4); it then has
# more places to crop from.
_C.DATA.TRAIN_CROP_PADDING = 0
# Testing: a square of this many pixels ...
_C.DATA.TEST_CROP_SIZE = 224
# ... whose side is this share of the short side; ImageNet: 0.875 (224 of 256).
_C.DATA.TEST_CROP_SHARE = 1.0
# Training: mirror half of the clips. Off where left and right are classes.
_C.DATA.RANDOM_FLIP = True
# Videos have any number of labels, in lists "1,5,7": a sigmoid for each class instead of a softmax,
# MODEL.LOSS_FUNC bce_logit, and mean average precision in place of top-1.
_C.DATA.MULTI_LABEL = False
# How the scores of a video's views become one: sum (their mean) or max.
_C.DATA.ENSEMBLE_METHOD = "sum"
# Per channel (R, G, B), of values from 0 to 1.
_C.DATA.MEAN = [0.45, 0.45, 0.45]
_C.DATA.STD = [0.225, 0.225, 0.225]
# Training: instead of TRAIN_JITTER_SCALES, the region cut out has a random share of the picture's
# area and a random ratio of width to height, from these ranges (such as [0.08, 1.0] and
# [0.75, 1.3333]); both or none.
_C.DATA.TRAIN_JITTER_SCALES_RELATIVE = []
_C.DATA.TRAIN_JITTER_ASPECT_RELATIVE = []
# Who decodes: pyav, decord or torchcodec.
_C.DATA.DECODING_BACKEND = "pyav"
# Training: random, every video once an epoch; balanced, every class as often as any other in an
# epoch of the same length, its videos in turn; shards, every video once, those of SHARD_WINDOW
# shards (docs/data.md) after those of as many others, so that what is read lies close together.
_C.DATA.SAMPLER = "random"
# With SAMPLER shards: how many shards' videos are shuffled together.
_C.DATA.SHARD_WINDOW = 8
# Training: keep decoded frames and pictures in memory, at most so many GiB in each process, so that
# every one is decoded once in a run: for small data sets, where decoding is what a GPU waits for.
# A run ends when they do not fit. With DATA_LOADER.NUM_WORKERS 0 or 1. 0: keep none.
_C.DATA.CACHE = 0.0
# Which of the official splits, 1 to 3 (ucf101, hmdb51); of videofolder, where folders alone hold no
# split: which random one, any whole number from 0.
_C.DATA.SPLIT = 1
# videofolder without a folder val: this share of every class's videos is for validation.
_C.DATA.VAL_SHARE = 0.2
# There: videos in whose path, CLASS/NAME.mp4, this regular expression finds the same stay on one
# side, such as pieces of one recording: "(.*)_part" for jump/anna_part1.mp4. With parentheses what
# stands in these counts, else all that was found. Empty: every video is by itself.
_C.DATA.GROUP_PATTERN = ""
# Training: an unreadable video is replaced by another one, and counted; the run stops when more
# than this share of an epoch's videos was replaced. Evaluation never replaces.
_C.DATA.MAX_BAD_FRACTION = 0.01

# Augmentation on the device, in training only.
_C.AUG = CfgNode()
_C.AUG.ENABLE = False
# RandAugment (rand-m7-n4: magnitude 7 of 10, 4 operations), autoaugment (ImageNet's policy),
# autoaugment-cifar10, or empty: none. The same operations for all frames of a clip.
_C.AUG.AA_TYPE = "rand-m7-n4-mstd0.5-inc1"
# Strength of random brightness, contrast and saturation, where AA_TYPE is empty; 0: none.
_C.AUG.COLOR_JITTER = 0.4
# Probability that a random box is erased, the same box in all frames; 0: none.
_C.AUG.RE_PROB = 0.25
# What fills it: pixel (a random colour for each), rand (one random colour) or const (the mean).
_C.AUG.RE_MODE = "pixel"
# Side of a square that is hidden in every picture, in pixels (cutout; CIFAR-10: 16); 0: none.
_C.AUG.CUTOUT = 0

# Mixing pairs of clips and their labels, in training only.
_C.MIXUP = CfgNode()
_C.MIXUP.ENABLE = False
# Parameter of the Beta distribution of mixup; 0: no mixup.
_C.MIXUP.ALPHA = 0.8
# The same of cutmix; 0: no cutmix.
_C.MIXUP.CUTMIX_ALPHA = 1.0
# Probability that a batch is mixed at all.
_C.MIXUP.PROB = 1.0
# Where both are on: probability of cutmix.
_C.MIXUP.SWITCH_PROB = 0.5
# Label smoothing of mixed labels, in place of MODEL.LABEL_SMOOTHING.
_C.MIXUP.LABEL_SMOOTH_VALUE = 0.1

_C.DATA_LOADER = CfgNode()
# Worker processes per training process.
_C.DATA_LOADER.NUM_WORKERS = 2
_C.DATA_LOADER.PIN_MEMORY = True

_C.TRAIN = CfgNode()
_C.TRAIN.ENABLE = True
# Name in DATASET_REGISTRY; each file in data/sources/ says what it has. Detectors: cocodetection.
_C.TRAIN.DATASET = "kinetics"
# Clips a step, over all processes together.
_C.TRAIN.BATCH_SIZE = 64
# Evaluate the full and the narrowest network on val.csv every EVAL_PERIOD epochs; 0: never.
_C.TRAIN.EVAL_PERIOD = 10
# Write a checkpoint every CHECKPOINT_PERIOD epochs (and after the last); 0: after the last alone.
_C.TRAIN.CHECKPOINT_PERIOD = 1
# And every CHECKPOINT_STEPS steps within an epoch; 0: only when the run is stopped.
_C.TRAIN.CHECKPOINT_STEPS = 0
# How many checkpoints of whole epochs are kept, the newest ones; 0: all.
_C.TRAIN.KEEP_CHECKPOINTS = 0
# Continue from the newest intact checkpoint in OUTPUT_DIR.
_C.TRAIN.AUTO_RESUME = True
# Minutes after which training writes a checkpoint and ends; the same command continues. 0: never.
_C.TRAIN.TIME_LIMIT = 0.0
# A step whose loss or gradients are not finite changes nothing and is counted; the run ends when
# an epoch has more of them than this, when they are more than half of an epoch, or when they are
# more than this and a fifth of all steps so far.
_C.TRAIN.MAX_SKIPPED_STEPS = 5
# Compute in TRAIN.PRECISION where torch.autocast says so; losses stay float32.
_C.TRAIN.MIXED_PRECISION = False
# bfloat16, or float16 with a gradient scaler (what PySlowFast does).
_C.TRAIN.PRECISION = "bfloat16"
# Gradient accumulation: in how many parts a process runs its share of TRAIN.BATCH_SIZE, for less
# memory. BatchNorm sees each part alone.
_C.TRAIN.MICRO_BATCHES = 1
# Decay of a moving average of the weights, such as 0.9999; 0: none. See TEST.EMA.
_C.TRAIN.EMA_DECAY = 0.0
# Weights to start from: a file of training here, of PyTorchVideo's or PySlowFast's zoo, or for
# ResNet image weights of torchvision's or MutualNet's ResNet-50, which are inflated. A URL, and the
# name of released weights (zoo:x3d_s), are fetched once. A classifier for another number of classes
# is not loaded; one for as many is, whatever these are called.
_C.TRAIN.CHECKPOINT_FILE_PATH = ""
# So many parts of the network, from the input on, keep their weights and BatchNorm statistics: 1:
# the stem, 2: also the first stage, and so on; 0: none. Sub-networks normalise by their own clips
# there.
_C.TRAIN.FREEZE = 0
# Keep the checkpoint that is best on the val list as checkpoints/best.pyth, and make the table of
# it: by the mean top-1 (mAP) of the full and the narrowest sub-network, every EVAL_PERIOD epochs
# and after the last.
_C.TRAIN.KEEP_BEST = False
# Early stopping: end when so many validations in a row have not been better than the best before;
# 0: never. Implies KEEP_BEST.
_C.TRAIN.PATIENCE = 0
# Training passes go through torch.compile: a graph for each of MUTUAL.WIDTHS, which must be given
# (SlowFast, and on the CPU: for each combination with MUTUAL.FRAMES and MUTUAL.SIZES).
_C.TRAIN.COMPILE = False
# The most graphs; a run that needs more is refused, or ends with an error.
_C.TRAIN.COMPILE_GRAPHS = 32

_C.SOLVER = CfgNode()
# sgd (Nesterov momentum), adam or adamw.
_C.SOLVER.OPTIMIZING_METHOD = "sgd"
# Of adam and adamw: decay of the means of gradients and of their squares.
_C.SOLVER.BETAS = [0.9, 0.999]
# Peak learning rate for TRAIN.BATCH_SIZE clips.
_C.SOLVER.BASE_LR = 0.1
# BASE_LR, WARMUP_START_LR and COSINE_END_LR are for one machine's share of TRAIN.BATCH_SIZE: they
# are multiplied by the number of machines (linear scaling, arXiv 1706.02677). Off: as written.
_C.SOLVER.BASE_LR_SCALE_NUM_SHARDS = False
# cosine: from BASE_LR to COSINE_END_LR, step by step; steps_with_relative_lrs: from epoch STEPS[i]
# on BASE_LR times LRS[i].
_C.SOLVER.LR_POLICY = "cosine"
_C.SOLVER.COSINE_END_LR = 0.0
# The cosine begins where the warm-up ends, not before it.
_C.SOLVER.COSINE_AFTER_WARMUP = False
_C.SOLVER.STEPS = []
_C.SOLVER.LRS = []
# Epochs; the warm-up is part of them.
_C.SOLVER.MAX_EPOCH = 300
# Epochs during which the rate climbs linearly from WARMUP_START_LR.
_C.SOLVER.WARMUP_EPOCHS = 0.0
_C.SOLVER.WARMUP_START_LR = 0.01
_C.SOLVER.MOMENTUM = 0.9
_C.SOLVER.DAMPENING = 0.0
_C.SOLVER.NESTEROV = True
# Weight decay of convolution and linear weights.
_C.SOLVER.WEIGHT_DECAY = 1e-4
# No weight decay on one-dimensional parameters that BN.WEIGHT_DECAY does not cover (biases).
_C.SOLVER.ZERO_WD_1D_PARAM = False
# No weight decay on depthwise convolutions.
_C.SOLVER.ZERO_WD_DEPTHWISE = False
# Norm that gradients are clipped to; 0: not clipped.
_C.SOLVER.CLIP_GRAD_L2NORM = 0.0

# Training in cycles of many small, short clips and few large, long ones (arXiv 1912.00998), with
# PySlowFast's keys and arithmetic; see docs/training.md. Both cycles off: every step is alike.
_C.MULTIGRID = CfgNode()
# Epochs over SOLVER.MAX_EPOCH: an epoch of many small clips costs less.
_C.MULTIGRID.EPOCH_FACTOR = 1.5
# Within an epoch: three steps in turn, of clips SHORT_CYCLE_FACTORS times TRAIN_CROP_SIZE large (no
# larger than the long cycle's), and as large as the long cycle has them. As many more clips as they
# are smaller; the learning rate stays.
_C.MULTIGRID.SHORT_CYCLE = False
_C.MULTIGRID.SHORT_CYCLE_FACTORS = [0.5, 0.5**0.5]
# Over the epochs: between any two of SOLVER.STEPS all of LONG_CYCLE_FACTORS in turn, each for as
# many steps, and after the last of SOLVER.STEPS the last of them. The learning rate goes with the
# number of clips.
_C.MULTIGRID.LONG_CYCLE = False
# Shares of DATA.NUM_FRAMES and of DATA.TRAIN_CROP_SIZE; TRAIN.BATCH_SIZE is that of [1, 1].
_C.MULTIGRID.LONG_CYCLE_FACTORS = [[0.25, 0.5**0.5], [0.5, 0.5**0.5], [0.5, 1.0], [1.0, 1.0]]
# The most clips of a step over TRAIN.BATCH_SIZE, 0: any number, as in the paper. 1: as many steps
# as without multigrid, each cheaper: for few videos, where larger batches are too few steps.
_C.MULTIGRID.MAX_BATCH_FACTOR = 0
# Clips that BatchNorm normalises together in training, however many a step has.
_C.MULTIGRID.BN_BASE_SIZE = 8
# With LONG_CYCLE: how often each phase of it is validated, in place of every TRAIN.EVAL_PERIOD
# epochs (0: never all the same).
_C.MULTIGRID.EVAL_FREQ = 3

_C.MUTUAL = CfgNode()
# mutual: widths, sizes and frames vary; width_only: widths alone (US-Net);
# single: the full network alone, the baseline.
_C.MUTUAL.MODE = "mutual"
# With MODE single: the sub-network to train instead of the full one, such as 0.5x4x64 (of pictures
# 0.5x64), as a network of its own: its channels, size and frames, on the labels. Empty: none.
_C.MUTUAL.SUBNET = ""
# Narrowest and widest width multiplier. The narrowest runs in every step.
_C.MUTUAL.WIDTH_RANGE = [0.63, 1.0]
# Random sub-networks a step, beside the full and the narrowest.
_C.MUTUAL.NUM_RANDOM = 2
# Widths that a random sub-network draws from; empty: any in WIDTH_RANGE.
_C.MUTUAL.WIDTHS = []
# random: each draw for itself, as in the papers; even: dealt from a shuffled deck of what WIDTHS,
# FRAMES and SIZES give: they come equally often, and no pass repeats another of its step.
_C.MUTUAL.DRAW = "random"
# Input sizes that a sub-network draws from, in pixels; empty: 7, 6, 5 and 4 sevenths of
# TRAIN_CROP_SIZE (224, 192, 160, 128).
_C.MUTUAL.SIZES = []
# Frame counts that a sub-network draws from (SlowFast: of the Slow pathway); empty: 16, 13, 10
# and 6 sixteenths of the full network's.
_C.MUTUAL.FRAMES = []
# Epochs at the start in which the full network trains alone: a teacher that knows nothing has
# nothing to teach, and costs as much. The papers have none; it helps where epochs are few.
_C.MUTUAL.ALONE_EPOCHS = 0
# Epochs, after ALONE_EPOCHS, over which the losses of sub-networks grow from 0 to their full weight
# (SlimCLR's slow start, arXiv 2212.07875, as a ramp).
_C.MUTUAL.RAMP_EPOCHS = 0.0
# Share of the cross-entropy on the labels in the losses of sub-networks; the rest is distillation.
_C.MUTUAL.LABEL_SHARE = 0.0
# Active channels are a multiple of this.
_C.MUTUAL.DIVISOR = 8
# Before sub-networks begin to train, put the most important channels of what was trained at one
# width first: of TRAIN.CHECKPOINT_FILE_PATH, or of what ALONE_EPOCHS have made. The full network's
# answers stay what they were.
_C.MUTUAL.ORDER_CHANNELS = False

_C.TEST = CfgNode()
# Calibrate, evaluate the grid and write the query table (after training, or alone).
_C.TEST.ENABLE = True
_C.TEST.DATASET = "kinetics"
# Clips a forward pass.
_C.TEST.BATCH_SIZE = 8
# Checkpoint to evaluate, of the same formats, also by URL or name, but it must fit as it is; empty:
# the newest of OUTPUT_DIR, or with TRAIN.KEEP_BEST the best.
_C.TEST.CHECKPOINT_FILE_PATH = ""
# Evaluate the moving average of the weights too (TRAIN.EMA_DECAY), with a table of its own in
# OUTPUT_DIR/ema.
_C.TEST.EMA = False
# Clips per video, spread evenly over it.
_C.TEST.NUM_ENSEMBLE_VIEWS = 10
# Crops per clip: 1 (centre) or 3 (along the longer side).
_C.TEST.NUM_SPATIAL_CROPS = 3
# Accept a result over fewer videos than the list holds. The table is written either way; without
# this an unreadable video ends the run with an error.
_C.TEST.ALLOW_MISSING = False

_C.TABLE = CfgNode()
# The grid is every combination of these; an empty list stands for the full network's value ...
_C.TABLE.WIDTHS = []
_C.TABLE.FRAMES = []
_C.TABLE.SIZES = []
# ... and these, written as 0.75x8x160, or these alone where all three lists are empty.
_C.TABLE.SUBNETS = []
# BatchNorm statistics of a sub-network: calibrated (averaged over training batches, for networks
# whose sub-networks were trained), own (the full network's, for one that was trained at one width
# and size) or best (of the two, whichever has the higher top-1 on the val list, row by row).
_C.TABLE.STATISTICS = "calibrated"
# Training batches that the BatchNorm statistics of a sub-network are averaged over.
_C.TABLE.CALIBRATION_BATCHES = 8
# Measure latency on this machine, one clip a time ...
_C.TABLE.LATENCY = True
# ... and, above 1, calls with LATENCY_BATCH clips ...
_C.TABLE.LATENCY_BATCH = 1
# ... executed by torch, torch-extracted, torch-compiled, torch-cudagraph, openvino or onnxruntime.
_C.TABLE.LATENCY_BACKEND = "torch"
# Choose confidence cascades on the answers of the evaluation, and write them beside the table.
_C.TABLE.CASCADES = True
# Also evaluate the grid in continual form, frame by frame over whole videos: X3D and Slow.
_C.TABLE.CONTINUAL = False


def get_cfg() -> CfgNode:
    """A fresh copy of the defaults (a mutable ``fvcore.common.config.CfgNode``)."""
    return _C.clone()


def add_section(name: str, **defaults: bool | int | float | str | list) -> None:
    """Gives configurations a section of keys, for networks and data sets of your own.

    Call it where the extension is imported: configurations read later have the keys, and
    :attr:`~mutualvideo.models.Network.keys` may name them.

    Args:
        name: of the section, such as ``MYNET``.
        defaults: every key with its default, whose type every value must have; a list must hold
            something.

    Raises:
        InputError: if there is another section or key of that name, or a list is empty.
    """
    if [] in defaults.values():
        raise InputError(f"section {name}: a list that is empty by default has no type")
    if name in _C and _C[name] != defaults:
        raise InputError(f"section {name}: is there already, with other keys or defaults")
    _C[name] = CfgNode(defaults)
