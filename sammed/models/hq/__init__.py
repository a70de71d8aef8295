"""HQ-SAM, Light HQ-SAM and MobileSAM: segment-anything with other encoders and decoders."""
