"""FreeSurfer's volumes: ``.mgh`` and ``.mgz``."""
