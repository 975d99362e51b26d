"""What coordinator and hospitals of a consortium sign: who belongs to it, what is asked, what was decided."""
